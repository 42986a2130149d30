// SPDX-License-Identifier: Apache-2.0
// Back-to-front order of splats by depth: two counting passes over 22 bits of the depth's float pattern. The patterns
// of positive floats grow with their value, so a few far outliers do not cost the near ones their precision.

const BITS = 11;
const BUCKETS = 1 << BITS;

export class DepthSorter {
  private readonly depth: Float32Array;
  private readonly pattern: Uint32Array;
  private readonly half: Uint32Array;
  private readonly low = new Uint32Array(BUCKETS);
  private readonly high = new Uint32Array(BUCKETS);

  /** positions: x, y, z of each splat. */
  constructor(private readonly positions: Float32Array) {
    const count = positions.length / 3;
    this.depth = new Float32Array(count);
    this.pattern = new Uint32Array(this.depth.buffer);
    this.half = new Uint32Array(count);
  }

  /**
   * Fills `order` with the splats whose depth (x, y, z) . p + offset is at least `near`, the farthest first and of
   * equal ones the later first, as the CPU renderer has it; returns their number. `order` has room for all splats.
   */
  sort(x: number, y: number, z: number, offset: number, near: number, order: Uint32Array): number {
    const { positions, depth, pattern, half, low, high } = this;
    const count = depth.length;
    let visible = 0;
    let least = 0xffffffff;
    let most = 0;
    for (let i = 0; i < count; i++) {
      const d = x * positions[3 * i] + y * positions[3 * i + 1] + z * positions[3 * i + 2] + offset;
      depth[i] = d;
      if (!(depth[i] >= near)) {
        depth[i] = 0;
        continue;
      }
      if (pattern[i] < least) least = pattern[i];
      if (pattern[i] > most) most = pattern[i];
      visible++;
    }
    if (visible === 0) return 0;
    let shift = 0;
    while ((most - least) / 2 ** shift >= BUCKETS * BUCKETS) shift++;
    low.fill(0);
    high.fill(0);
    for (let i = 0; i < count; i++) {
      if (pattern[i] === 0) continue;
      const key = (most - pattern[i]) >>> shift;
      low[key & (BUCKETS - 1)]++;
      high[key >>> BITS]++;
    }
    startsOf(low);
    startsOf(high);
    for (let i = count - 1; i >= 0; i--) {
      if (pattern[i] !== 0) half[low[((most - pattern[i]) >>> shift) & (BUCKETS - 1)]++] = i;
    }
    for (let k = 0; k < visible; k++) {
      const i = half[k];
      order[high[(most - pattern[i]) >>> shift >>> BITS]++] = i;
    }
    return visible;
  }
}

/** Counts -> where each bucket begins. */
function startsOf(counts: Uint32Array): void {
  let sum = 0;
  for (let b = 0; b < counts.length; b++) {
    const size = counts[b];
    counts[b] = sum;
    sum += size;
  }
}
