// One dialog at a time: for the token, and before anything is changed.

import { token } from "./api.js";
import { h } from "./dom.js";

const NAME = "serinus.name";
const dialog = () => document.getElementById("dialog");

export function closeDialog() {
  if (dialog().open) dialog().close();
}

function open(form) {
  if (dialog().open) return;
  dialog().replaceChildren(form);
  dialog().showModal();
}

/** Ask for a token; it is kept for this tab only. */
export function askToken(why, use) {
  const field = h("input", { id: "token-field", type: "password", autocomplete: "off", value: token.get(), "aria-describedby": "token-why" });
  const done = (event) => { event.preventDefault(); dialog().close(); use(field.value.trim()); };
  open(h("form", { submit: done }, h("h2", { id: "dialog-title" }, "Control token"),
    h("p", { id: "token-why" }, why ? `${why} ` : "", "It is kept in this tab until you close it, and sent with every call."),
    h("label", { for: "token-field" }, "Token"), field,
    h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, "Use it"),
      h("button", { type: "button", click: closeDialog }, "Cancel"))));
}

/** Ask before something is changed, for a reason or (not `reasoned`) for a name alone. `act(reason, name)` does it; its error is shown in place. */
export function confirm({ title, text, verb, danger, reasoned = true, act }) {
  const reason = h("input", { id: "reason", type: "text", maxlength: "300", autocomplete: "off" });
  const name = h("input", { id: "name", type: "text", maxlength: "60", autocomplete: "name", required: !reasoned, value: localStorage.getItem(NAME) ?? "" });
  const said = h("p", { role: "alert", class: "problem" });
  const go = h("button", { type: "submit", class: danger ? "danger" : "main" }, verb);
  const submit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    said.textContent = "";
    try {
      localStorage.setItem(NAME, name.value.trim());
      await act(reason.value.trim(), name.value.trim());
      closeDialog();
    } catch (problem) {
      said.textContent = problem.message;
      go.disabled = false;
    }
  };
  open(h("form", { submit }, h("h2", { id: "dialog-title" }, title), h("p", {}, text),
    reasoned && [h("label", { for: "reason" }, "Reason, for the journal"), reason], h("label", { for: "name" }, "Your name"), name, said,
    h("div", { class: "row" }, go, h("button", { type: "button", click: closeDialog }, "Cancel"))));
  (reasoned ? reason : name).focus();
}
