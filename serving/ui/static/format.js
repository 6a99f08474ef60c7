// Numbers and times as people read them.

const DASH = "–";
const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en");

/** Three digits that count; whole numbers as they are. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return DASH;
  if (Number.isInteger(value) && Math.abs(value) < 1e12) return whole.format(value);
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-4 || size >= 1e9) ? value.toExponential(2) : plain.format(value);
}

/** A share of one, in percent. */
export function percent(value, digits = 1) {
  if (value === null || value === undefined || Number.isNaN(value)) return DASH;
  const text = (100 * value).toFixed(digits);
  return `${Number(text) === 0 && value > 0 ? `< ${(0.1 ** digits).toFixed(digits)}` : text} %`;
}

export function milliseconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return DASH;
  return value >= 1000 ? `${plain.format(value / 1000)} s` : `${plain.format(value)} ms`;
}

/** A length of time. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return DASH;
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${plain.format(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

const two = (value) => String(value).padStart(2, "0");

/** The reader's own clock; the date where it is another day. */
export function clock(seconds) {
  if (!seconds) return DASH;
  const at = new Date(seconds * 1000), today = new Date();
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return at.toDateString() === today.toDateString() ? time : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

export const ago = (seconds) => (seconds ? `${duration(Date.now() / 1000 - seconds)} ago` : DASH);

/** `high` as a word, with an interval where there is one. */
export function measure(found, digits = 3) {
  if (!found || found.value === null || found.value === undefined) return DASH;
  const shown = (value) => (value === null || value === undefined ? DASH : Math.abs(value) <= 1.5 ? value.toFixed(digits) : plain.format(value));
  const interval = found.low === null || found.low === undefined ? "" : ` (${shown(found.low)} to ${shown(found.high)})`;
  return shown(found.value) + interval;
}
