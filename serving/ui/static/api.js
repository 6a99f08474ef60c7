// Calls of the server's own API, with the token that the reader gave for this tab.

const BASE = new URL("../api/", document.baseURI);
const KEY = "serinus.token";

/** An answer that is none: its status (0 without a connection) and one sentence. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** The JSON document at a path below /api; a body makes it a POST. */
export async function ask(path, body) {
  const headers = { accept: "application/json" };
  if (token.get()) headers.authorization = `Bearer ${token.get()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer, document;
  try {
    answer = await fetch(new URL(path, BASE), {
      method: body === undefined ? "GET" : "POST", headers, body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(20_000),
    });
    document = await answer.json();
  } catch (error) {
    throw new Problem(answer?.status ?? 0, answer ? "The answer is no JSON." : `The server does not answer (${error.message}).`);
  }
  if (!answer.ok) throw new Problem(answer.status, document.detail ?? document.error ?? `Status ${answer.status}.`);
  return document;
}

/** The same; null where there is nothing (404) or this server has no such thing. */
export async function askFor(path) {
  try {
    return await ask(path);
  } catch (problem) {
    if (problem.status === 404 || problem.status === 405) return null;
    throw problem;
  }
}

/** Names in addresses. */
export const part = encodeURIComponent;
