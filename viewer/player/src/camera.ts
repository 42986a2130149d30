// SPDX-License-Identifier: Apache-2.0
// Where the viewer is and what it sees. The world is the SPZ file's (x right, y up, z back); a view's axes are those
// of OpenCV (x right, y down, z forward), pixel centres at +0.5, as everywhere in sparse3d.

export type Vec3 = [number, number, number];

export const add = (a: Vec3, b: Vec3, k = 1): Vec3 => [a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]];
export const dot = (a: Vec3, b: Vec3): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a: Vec3, b: Vec3): Vec3 => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
export const scaled = (a: Vec3, k: number): Vec3 => [a[0] * k, a[1] * k, a[2] * k];
export const unit = (a: Vec3): Vec3 => scaled(a, 1 / (Math.hypot(...a) || 1));

/** As the exporter gives it. fov: degrees across a square that has the window's area. */
export interface StartCamera {
  position: Vec3;
  target: Vec3;
  up: Vec3;
  fov: number;
}

/** Angles in radians about the frame's up and the viewer's right; the pivot lies `distance` ahead. */
export interface Pose {
  position: Vec3;
  yaw: number;
  pitch: number;
  distance: number;
}

/** Axes that yaw and pitch are measured in. */
export interface Frame {
  up: Vec3;
  ahead: Vec3;
  right: Vec3;
}

/** One picture: rows of cam_from_world, pixels. */
export interface View {
  rotation: [Vec3, Vec3, Vec3];
  translation: Vec3;
  position: Vec3;
  fx: number;
  fy: number;
  cx: number;
  cy: number;
  width: number;
  height: number;
}

const STEEPEST = 1.55;

/** The frame and the pose of a start camera; at yaw 0 it looks as given, level with the horizon. */
export function startPose(camera: StartCamera): { frame: Frame; pose: Pose } {
  const up = unit(camera.up);
  const to = add(camera.target, camera.position, -1);
  const distance = Math.hypot(...to) || 1;
  const forward = unit(to);
  let level = add(forward, up, -dot(forward, up));
  if (Math.hypot(...level) < 1e-6) level = cross(up, Math.abs(up[0]) < 0.9 ? [1, 0, 0] : [0, 0, 1]);
  const ahead = unit(level);
  const pitch = Math.max(-STEEPEST, Math.min(STEEPEST, Math.asin(Math.max(-1, Math.min(1, dot(forward, up))))));
  const pose = { position: camera.position, yaw: 0, pitch, distance };
  return { frame: { up, ahead, right: cross(ahead, up) }, pose };
}

/** Unit vectors: right, down, forward. */
export function axes(frame: Frame, pose: Pose): [Vec3, Vec3, Vec3] {
  const [cy, sy] = [Math.cos(pose.yaw), Math.sin(pose.yaw)];
  const level = add(scaled(frame.ahead, cy), frame.right, sy);
  const right = add(scaled(frame.right, cy), frame.ahead, -sy);
  const forward = add(scaled(level, Math.cos(pose.pitch)), frame.up, Math.sin(pose.pitch));
  return [right, cross(forward, right), forward];
}

export function pivot(frame: Frame, pose: Pose): Vec3 {
  return add(pose.position, axes(frame, pose)[2], pose.distance);
}

/** Turn about the pivot (orbit) or on the spot (fly). Pitch stops short of straight up and down. */
export function turned(frame: Frame, pose: Pose, yaw: number, pitch: number, about: "pivot" | "self"): Pose {
  const next = { ...pose, yaw: pose.yaw + yaw, pitch: Math.max(-STEEPEST, Math.min(STEEPEST, pose.pitch + pitch)) };
  if (about === "self") return next;
  const kept = pivot(frame, pose);
  return { ...next, position: add(kept, axes(frame, next)[2], -next.distance) };
}

/** Move by steps along the viewer's right, down and forward. */
export function moved(frame: Frame, pose: Pose, right: number, down: number, forward: number): Pose {
  const [r, d, f] = axes(frame, pose);
  return { ...pose, position: add(add(add(pose.position, r, right), d, down), f, forward) };
}

/** Come nearer to the pivot (factor below 1) or go away from it. */
export function zoomed(frame: Frame, pose: Pose, factor: number, least: number, most: number): Pose {
  const distance = Math.max(least, Math.min(most, pose.distance * factor));
  return { ...moved(frame, pose, 0, 0, pose.distance - distance), distance };
}

/** Between two poses, t in 0..1, the short way round. */
export function between(a: Pose, b: Pose, t: number): Pose {
  const mix = (x: number, y: number): number => x + (y - x) * t;
  const round = 2 * Math.PI;
  const yaw = a.yaw + (b.yaw - a.yaw - round * Math.round((b.yaw - a.yaw) / round)) * t;
  const position = a.position.map((x, i) => mix(x, b.position[i])) as Vec3;
  return { position, yaw, pitch: mix(a.pitch, b.pitch), distance: mix(a.distance, b.distance) };
}

/** Focal length in pixels. Windows of any shape show about as much of the scene: what a square of their area would. */
export function focalLength(fov: number, width: number, height: number): number {
  return (0.5 * Math.sqrt(width * height)) / Math.tan((fov * Math.PI) / 360);
}

export function viewOf(frame: Frame, pose: Pose, fov: number, width: number, height: number): View {
  const rotation = axes(frame, pose);
  const f = focalLength(fov, width, height);
  const translation = rotation.map((row) => -dot(row, pose.position)) as Vec3;
  const { position } = pose;
  return { rotation, translation, position, fx: f, fy: f, cx: width / 2, cy: height / 2, width, height };
}

/** cam_from_world, 4x4 by rows, in the exporter's world (SPZ's with y and z turned round). */
export function camFromWorld(view: View): number[][] {
  const rows = view.rotation.map((r, i) => [r[0], -r[1], -r[2], view.translation[i]]);
  return [...rows, [0, 0, 0, 1]];
}
