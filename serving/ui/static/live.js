// Looks again and again: every few seconds, less often while nobody answers, not at all while nobody sees the page.

const PERIOD_MS = 5_000;
const LONGEST_MS = 60_000;

/** `look` gives data, `show` draws it, `told` hears how it goes: {at, failed, next}. */
export class Live {
  #failures = 0;
  #timer = 0;
  #at = 0;
  #over = false;

  constructor(look, show, told) {
    Object.assign(this, { look, show, told });
    this.woken = () => !document.hidden && this.now();
    document.addEventListener("visibilitychange", this.woken);
  }

  /** Look at once. */
  async now() {
    clearTimeout(this.#timer);
    let problem = null;
    try {
      const data = await this.look();
      if (this.#over) return;
      this.#failures = 0;
      this.#at = Date.now();
      this.show(data);
    } catch (error) {
      if (this.#over) return;
      if (!("status" in error)) console.error(error);
      problem = error;
      this.#failures += 1;
    }
    const wait = Math.min(LONGEST_MS, PERIOD_MS * 2 ** Math.min(this.#failures, 6) * (0.9 + 0.2 * Math.random()));
    const pause = this.#failures ? wait : PERIOD_MS;
    this.told({ at: this.#at, problem, next: Date.now() + pause });
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.now(), pause);
  }

  end() {
    this.#over = true;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.woken);
  }
}
