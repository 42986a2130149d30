// SPDX-License-Identifier: Apache-2.0
// How far round, up and near the photos looked. Beyond it lies what nobody photographed: there the view gives way like
// a spring under the hand, and eases back when it is let go.
import { type Frame, type Pose, type Vec3, add, axes, pivot, scaled } from "./camera";

/** As the exporter gives it. Angles in radians in the first view's frame, yaw null: all around. Distances to the pivot,
 * and how far that may move from where it was at first, in units of the scene. */
export interface Reach {
  yaw: [number, number] | null;
  pitch: [number, number];
  distance: [number, number];
  shift: number;
}

interface Orbit {
  pivot: Vec3;
  yaw: number;
  pitch: number;
  distance: number;
}

/** How far a hand gets beyond the reach with a drag of this length, in radians (and in shares of the distance). */
const GIVE = 0.1;
const EASE_PER_S = 5;
const THERE = 1e-3;
const SAME = 1e-9;

const clamp = (x: number, [least, most]: [number, number]): number => Math.max(least, Math.min(most, x));
const mix = (a: number, b: number, t: number): number => a + (b - a) * t;
/** Signed: by how much x lies beyond the bounds. */
const over = (x: number, bounds: [number, number]): number => x - clamp(x, bounds);

/** The value after a step from `a` to `b`: the further beyond the bounds, the less of a step outwards is taken. */
function soft(a: number, b: number, bounds: [number, number]): number {
  const [before, after] = [over(a, bounds), over(b, bounds)];
  const begun = before * after > 0 ? Math.abs(before) : 0;
  const step = Math.abs(after) - begun;
  if (step <= 0) return b;
  return clamp(b, bounds) + Math.sign(after) * GIVE * Math.log(Math.exp(begun / GIVE) + step / GIVE);
}

export class Limits {
  private readonly home: Vec3;
  private readonly unit: number;

  constructor(
    private readonly frame: Frame,
    first: Pose,
    private readonly reach: Reach,
  ) {
    this.home = pivot(frame, first);
    this.unit = first.distance;
  }

  /** How far beyond the reach: radians, or shares of the distance; 0 inside. */
  beyond(pose: Pose): number {
    const [at, to] = [this.orbit(pose), this.orbit(this.nearest(pose))];
    const shift = Math.hypot(...add(at.pivot, to.pivot, -1)) / this.unit;
    const far = Math.abs(Math.log(at.distance / to.distance));
    const most = Math.max(Math.abs(at.yaw - to.yaw), Math.abs(at.pitch - to.pitch), far, shift);
    return most < SAME ? 0 : most;
  }

  /** The pose that the photos cover and that is nearest to this one. */
  nearest(pose: Pose): Pose {
    const { yaw, pitch, distance } = this.reach;
    const at = this.orbit(pose);
    const offset = add(at.pivot, this.home, -1);
    const length = Math.hypot(...offset);
    const kept = length > this.reach.shift ? add(this.home, offset, this.reach.shift / length) : at.pivot;
    return this.pose({
      pivot: kept,
      yaw: yaw ? clamp(at.yaw, this.turnsOf(at.yaw, yaw)) : at.yaw,
      pitch: clamp(at.pitch, pitch),
      distance: clamp(at.distance, distance),
    });
  }

  /** Where a hand that moved the view from `before` to `after` gets. */
  resisted(before: Pose, after: Pose): Pose {
    if (this.beyond(after) === 0) return after;
    const [a, b] = [this.orbit(before), this.orbit(after)];
    const { yaw, pitch, distance, shift } = this.reach;
    const logs = [Math.log(distance[0]), Math.log(distance[1])] as [number, number];
    const offset = add(b.pivot, this.home, -1);
    const lengths = [add(a.pivot, this.home, -1), offset].map((v) => Math.hypot(...v) / this.unit);
    const length = soft(lengths[0], lengths[1], [0, shift / this.unit]);
    return this.pose({
      pivot: lengths[1] > 0 ? add(this.home, offset, length / lengths[1]) : b.pivot,
      yaw: yaw ? soft(a.yaw, b.yaw, this.turnsOf(a.yaw, yaw)) : b.yaw,
      pitch: soft(a.pitch, b.pitch, pitch),
      distance: Math.exp(soft(Math.log(a.distance), Math.log(b.distance), logs)),
    });
  }

  /** A while later, on the way back; the same object where there is no way to go. */
  eased(pose: Pose, seconds: number): Pose {
    const left = this.beyond(pose);
    if (left === 0) return pose;
    const end = this.nearest(pose);
    if (left < THERE) return end;
    const [a, b, t] = [this.orbit(pose), this.orbit(end), 1 - Math.exp(-EASE_PER_S * seconds)];
    return this.pose({
      pivot: add(scaled(a.pivot, 1 - t), b.pivot, t),
      yaw: mix(a.yaw, b.yaw, t),
      pitch: mix(a.pitch, b.pitch, t),
      distance: mix(a.distance, b.distance, t),
    });
  }

  /** The bounds of yaw, moved by the whole turns that bring them nearest to `yaw`. */
  private turnsOf(yaw: number, [least, most]: [number, number]): [number, number] {
    const round = 2 * Math.PI;
    const turns = round * Math.round((yaw - (least + most) / 2) / round);
    return [least + turns, most + turns];
  }

  private orbit(pose: Pose): Orbit {
    return { pivot: pivot(this.frame, pose), yaw: pose.yaw, pitch: pose.pitch, distance: pose.distance };
  }

  private pose(orbit: Orbit): Pose {
    const { yaw, pitch, distance } = orbit;
    const turned = { position: orbit.pivot, yaw, pitch, distance };
    return { ...turned, position: add(orbit.pivot, axes(this.frame, turned)[2], -distance) };
  }
}
