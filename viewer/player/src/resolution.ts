// SPDX-License-Identifier: Apache-2.0
// How many pixels are drawn: as many as the screen has, up to a budget; fewer while the view moves on a slow device.

/** Pixels of a picture that phones and tablets, and other devices, draw without trouble. */
const BUDGET_TOUCH = 2.2e6;
const BUDGET_OTHER = 5e6;
const MAX_RATIO = 2;
const LEAST = 0.35;
const SLOW_MS = 45;
const FAST_MS = 20;

/** Device pixels a CSS pixel, for a still picture. */
export function stillRatio(devicePixelRatio: number, width: number, height: number, touch: boolean): number {
  const budget = touch ? BUDGET_TOUCH : BUDGET_OTHER;
  return Math.min(devicePixelRatio || 1, MAX_RATIO, Math.sqrt(budget / Math.max(1, width * height)));
}

/** Follows the time between frames while the view moves. */
export class MovingScale {
  /** Factor on both sides of the picture, at most 1. */
  value = 1;
  private mean = 0;
  private seen = 0;

  /** ms: time since the frame before, in the same movement. Returns whether the factor changed. */
  frame(ms: number): boolean {
    this.mean = this.seen++ === 0 ? ms : this.mean + 0.3 * (ms - this.mean);
    if (this.seen < 4) return false;
    const before = this.value;
    if (this.mean > SLOW_MS) this.value = Math.max(LEAST, this.value * Math.max(0.6, Math.sqrt(SLOW_MS / this.mean)));
    else if (this.mean < FAST_MS) this.value = Math.min(1, this.value * 1.15);
    if (this.value !== before) this.seen = 0;
    return this.value !== before;
  }
}
