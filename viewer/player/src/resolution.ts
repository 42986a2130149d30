// SPDX-License-Identifier: Apache-2.0
// How many pixels are drawn: as many as the screen has, up to a budget; fewer on a slow device, above all while the
// view moves.

/** Pixels of a picture that phones and tablets, and other devices, draw without trouble. */
const BUDGET_TOUCH = 2.2e6;
const BUDGET_OTHER = 5e6;
const MAX_RATIO = 2;
const LEAST = { moving: 0.3, still: 0.6 };
/** Pixels of the first picture, before anything is known of the device: something is there soon. */
const FIRST_PIXELS = 1.2e5;
/** How long a picture may take while the view moves, and when it stands still. */
const MS = { moving: 40, still: 4000 };
/** Smaller changes of the size than this share are not worth a new canvas. */
const SAME = 0.12;

/** Device pixels a CSS pixel, for a still picture. */
export function stillRatio(devicePixelRatio: number, width: number, height: number, touch: boolean): number {
  const budget = touch ? BUDGET_TOUCH : BUDGET_OTHER;
  return Math.min(devicePixelRatio || 1, MAX_RATIO, Math.sqrt(budget / Math.max(1, width * height)));
}

/** Finds the share of both sides of the picture to draw, from how long pictures took. */
export class Pace {
  /** Time that a picture with all its pixels would take. */
  private cost: number | undefined;
  private seen = 0;
  private last = { moving: 1, still: 1 };

  /** Whether a picture's time is known. */
  get known(): boolean {
    return this.cost !== undefined;
  }

  /** A picture at `scale` took `ms` until the graphics had finished it. */
  took(ms: number, scale: number): void {
    // The first one waits for the driver to compile its programs and says nothing about the next.
    if (this.seen++ === 0) return;
    const whole = ms / (scale * scale);
// A slow one may have waited for others; a fast one cannot be by chance.
    this.cost = whole < (this.cost ?? Infinity) ? whole : this.cost! + 0.5 * (whole - this.cost!);
  }

  /** Factor on both sides of a picture of so many pixels, at most 1. */
  scale(kind: "moving" | "still", pixels: number): number {
    if (this.cost === undefined) return Math.min(1, Math.sqrt(FIRST_PIXELS / pixels));
    const wanted = Math.min(1, Math.max(LEAST[kind], Math.sqrt(MS[kind] / this.cost)));
    const before = this.last[kind];
    if (wanted === 1 || Math.abs(wanted - before) > SAME * before) this.last[kind] = wanted;
    return this.last[kind];
  }
}
