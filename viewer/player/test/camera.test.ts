// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Pose, type Vec3, add, axes, between, camFromWorld, cross, dot, focalLength } from "../src/camera";
import { moved, pivot, startPose, turned, viewOf, zoomed } from "../src/camera";
import { Pace, stillRatio } from "../src/resolution";
import { Room } from "../src/xr";

const start = { position: [1, 2, 6] as Vec3, target: [0, 1, 0] as Vec3, up: [0.1, 1, 0] as Vec3, fov: 60 };
const { frame, pose } = startPose(start);

function close(a: number[], b: number[], tolerance = 1e-9): void {
  assert.equal(a.length, b.length);
  for (const [i, x] of a.entries()) assert.ok(Math.abs(x - b[i]) <= tolerance, `${a} is not ${b}`);
}

test("the first view looks at its target, upright", () => {
  const [right, down, forward] = axes(frame, pose);
  close(pivot(frame, pose), start.target);
  close([dot(right, frame.up)], [0]);
  assert.ok(dot(down, frame.up) < 0);
  close(cross(right, down), forward);
  close([Math.hypot(...right), Math.hypot(...down), Math.hypot(...forward)], [1, 1, 1]);
});

test("a view straight down has a frame too", () => {
  const { frame: f, pose: p } = startPose({ ...start, position: [0, 5, 0], target: [0, 0, 0], up: [0, 1, 0] });
  assert.ok(axes(f, p).flat().every(Number.isFinite));
});

test("orbit keeps the pivot, fly keeps the place", () => {
  const orbit = turned(frame, pose, 0.4, -0.2, "pivot");
  close(pivot(frame, orbit), start.target);
  assert.notDeepEqual(orbit.position, pose.position);
  const fly = turned(frame, pose, 0.4, -0.2, "self");
  assert.deepEqual(fly.position, pose.position);
  assert.ok(turned(frame, pose, 0, 9, "self").pitch < Math.PI / 2);
});

test("zoom goes towards the pivot and stops at its limits", () => {
  const near = zoomed(frame, pose, 0.5, 0.1, 100);
  close(pivot(frame, near), start.target);
  close([near.distance], [pose.distance / 2]);
  assert.equal(zoomed(frame, pose, 1e-9, 0.1, 100).distance, 0.1);
});

test("moves are along the view's axes", () => {
  const [right, down, forward] = axes(frame, pose);
  close(moved(frame, pose, 1, 2, 3).position, add(add(add(pose.position, right), down, 2), forward, 3));
});

test("the way back goes the short way round", () => {
  const far: Pose = { ...pose, yaw: pose.yaw + 2 * Math.PI + 0.2 };
  close([between(far, pose, 0.5).yaw], [far.yaw - 0.1]);
  close(axes(frame, between(far, pose, 1)).flat(), axes(frame, pose).flat());
});

test("windows of equal area have equal focal lengths", () => {
  assert.equal(focalLength(60, 400, 900), focalLength(60, 900, 400));
  close([focalLength(90, 500, 500)], [250]);
});

test("a point in front projects to the middle, in the exporter's world too", () => {
  const view = viewOf(frame, pose, 60, 640, 480);
  const matrix = camFromWorld(view);
  const [x, y, z] = [start.target[0], -start.target[1], -start.target[2]];
  const cam = matrix.map((r) => r[0] * x + r[1] * y + r[2] * z + r[3]);
  close(cam, [0, 0, pose.distance, 1]);
});

test("an eye of a headset looks where the page looked", () => {
  const room = new Room(frame, pose, 2);
  const eye = new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0.03, 0.5, 0, 1]);
  const projection = new Float32Array([2, 0, 0, 0, 0, 1.5, 0, 0, 0.25, -0.5, -1, -1, 0, 0, -0.1, 0]);
  const { view } = room.eye(eye, projection, 0, 0, 800, 1000);
  const level: Pose = { ...pose, pitch: 0 };
  close(view.rotation.flat(), axes(frame, level).flat(), 1e-6);
  close(view.position, add(add(pose.position, axes(frame, level)[0], 0.06), frame.up, 1), 1e-6);
  close([view.fx, view.fy, view.cx, view.cy], [800, 750, 300, 250]);
  // The same point through OpenGL's matrix: x right, y up, z back.
  const [x, y, z] = [0.3, -0.2, -2];
  const clip = [(2 * x + 0.25 * z) / -z, (1.5 * y - 0.5 * z) / -z];
  close([(view.fx * x) / -z + view.cx, (view.fy * -y) / -z + view.cy], [(1 + clip[0]) * 400, (1 - clip[1]) * 500], 1e-6);
});

test("pixels: capped by ratio and budget, fewer on slow devices", () => {
  assert.equal(stillRatio(3, 300, 300, true), 2);
  assert.ok(390 * 844 * stillRatio(3, 390, 844, true) ** 2 <= 2.2e6 * 1.0001);
  assert.equal(stillRatio(1, 1280, 720, false), 1);
  const pace = new Pace();
  assert.ok(pace.scale("still", 1e6) < 0.5);
  pace.took(5000, 0.3);
  assert.ok(!pace.known, "the first picture waits for the driver's compiler");
  for (let i = 0; i < 20; i++) pace.took(10 * pace.scale("moving", 1e6) ** 2, pace.scale("moving", 1e6));
  assert.equal(pace.scale("moving", 1e6), 1);
  for (let i = 0; i < 20; i++) pace.took(400 * pace.scale("moving", 1e6) ** 2, pace.scale("moving", 1e6));
  assert.ok(Math.abs(pace.scale("moving", 1e6) - Math.sqrt(0.1)) < 0.05);
  assert.equal(pace.scale("still", 1e6), 1);
});
