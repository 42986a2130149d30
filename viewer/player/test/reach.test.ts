// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Vec3, moved, pivot, startPose, turned, zoomed } from "../src/camera";
import { Limits, type Reach } from "../src/reach";

const start = { position: [0, 1, 5] as Vec3, target: [0, 0, 0] as Vec3, up: [0, 1, 0] as Vec3, fov: 50 };
const { frame, pose } = startPose(start);
const reach: Reach = {
  yaw: [-0.3, 0.2],
  pitch: [pose.pitch - 0.1, pose.pitch + 0.2],
  distance: [pose.distance * 0.5, pose.distance * 1.5],
  shift: 1,
};
const limits = new Limits(frame, pose, reach);
const turn = (yaw: number, pitch = 0, from = pose) => turned(frame, from, yaw, pitch, "pivot");

function close(a: number, b: number, tolerance = 1e-9): void {
  assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);
}

test("inside the reach nothing is changed", () => {
  for (const inside of [pose, turn(0.19), turn(-0.29, 0.15), moved(frame, pose, 0.6, 0.6, 0)]) {
    assert.equal(limits.beyond(inside), 0);
    assert.equal(limits.resisted(pose, inside), inside);
    assert.equal(limits.eased(inside, 0.1), inside);
  }
});

test("the nearest pose is at the bound, and the pivot stays", () => {
  const back = limits.nearest(turn(0.9, -0.5));
  close(back.yaw, 0.2);
  close(back.pitch, pose.pitch - 0.1);
  close(back.distance, pose.distance);
  for (const x of pivot(frame, back)) close(x, 0);
  close(limits.nearest(zoomed(frame, pose, 9, 0, 1e9)).distance, pose.distance * 1.5);
  close(Math.hypot(...pivot(frame, limits.nearest(moved(frame, pose, 3, 0, 0)))), 1);
});

test("a hand gets ever less far, in one step as in many, and back at once", () => {
  const once = limits.resisted(pose, turn(0.2 + 1));
  let many = turn(0.2);
  for (let i = 0; i < 100; i++) many = limits.resisted(many, turn(0.01, 0, many));
  close(once.yaw, many.yaw, 1e-3);
  assert.ok(once.yaw > 0.3 && once.yaw < 0.2 + 0.3, `${once.yaw}`);
  const inwards = turn(-0.05, 0, once);
  close(limits.resisted(once, inwards).yaw, once.yaw - 0.05);
  assert.ok(limits.beyond(limits.resisted(pose, zoomed(frame, pose, 40, 0, 1e9))) < 0.5);
});

test("let go, the view comes back to the bound and rests there", () => {
  let at = limits.resisted(pose, turn(1.5, 0.8));
  let before = limits.beyond(at);
  for (let i = 0; i < 200 && limits.beyond(at) > 0; i++) {
    at = limits.eased(at, 0.016);
    assert.ok(limits.beyond(at) < before);
    before = limits.beyond(at);
  }
  assert.equal(limits.beyond(at), 0);
  assert.equal(limits.eased(at, 0.016), at);
  close(at.yaw, 0.2);
});

test("all around there is no bound of yaw, and turns are counted", () => {
  const round = new Limits(frame, pose, { ...reach, yaw: null });
  assert.equal(round.beyond(turn(40)), 0);
  close(limits.nearest(turn(2 * Math.PI + 0.5)).yaw, 2 * Math.PI + 0.2);
  assert.equal(limits.beyond(turn(-2 * Math.PI)), 0);
});
