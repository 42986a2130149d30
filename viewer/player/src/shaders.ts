// SPDX-License-Identifier: Apache-2.0
// The three programs. Projection, thresholds and SH basis are those of sparse3d's own renderer (math/projection.h,
// math/thresholds.h, math/sh.h), so that the page shows what `sparse3d render` draws.
import { ROW, restCount } from "./spz";

const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp usampler2D;
precision highp usampler2DArray;
`;

const COMMON = `${HEAD}
ivec2 texelOf(uint i) { return ivec2(int(i % ${ROW}u), int(i / ${ROW}u)); }
vec3 placeOf(uvec4 w, float unit) {
  return vec3(float(int(w.x << 8u) >> 8), float(int(w.y << 8u) >> 8), float(int(w.z << 8u) >> 8)) * unit;
}
`;

// Real spherical harmonics above degree 0 (Sloan 2013, appendix A2), in the file's order, at the unit direction d.
const BASIS = [
  "-0.4886025119029199 * d.y",
  "0.4886025119029199 * d.z",
  "-0.4886025119029199 * d.x",
  "1.0925484305920792 * d.x * d.y",
  "-1.0925484305920792 * d.y * d.z",
  "0.31539156525252005 * (2.0 * s.z - s.x - s.y)",
  "-1.0925484305920792 * d.x * d.z",
  "0.5462742152960396 * (s.x - s.y)",
  "-0.5900435899266435 * d.y * (3.0 * s.x - s.y)",
  "2.890611442640554 * d.x * d.y * d.z",
  "-0.4570457994644658 * d.y * (4.0 * s.z - s.x - s.y)",
  "0.3731763325901154 * d.z * (2.0 * s.z - 3.0 * s.x - 3.0 * s.y)",
  "-0.4570457994644658 * d.x * (4.0 * s.z - s.x - s.y)",
  "1.445305721320277 * d.z * (s.x - s.y)",
  "-0.5900435899266435 * d.x * (s.x - 3.0 * s.y)",
];

/** Byte b of the SH words t0, t1, t2 as a coefficient in -1..1. */
function coefficient(b: number): string {
  const word = `t${Math.floor(b / 16)}.${"xyzw"[Math.floor(b / 4) % 4]}`;
  return `float((${word} >> ${8 * (b % 4)}u) & 255u)`;
}

/** A triangle that covers the target. */
export const COVER_VERTEX = `${HEAD}
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }
`;

/** Colour of every splat from where the viewer is: one fragment a splat, three times 10 bits over 0..2. */
export function colorFragment(shDegree: number): string {
  const terms = BASIS.slice(0, restCount(shDegree)).map((basis, j) => {
    const c = [0, 1, 2].map((k) => coefficient(3 * j + k)).join(", ");
    return `  c += ${basis} * (vec3(${c}) / 128.0 - 1.0);`;
  });
  const layers = Math.ceil((3 * restCount(shDegree)) / 16);
  const fetches = Array.from({ length: layers }, (_, l) => `  uvec4 t${l} = texelFetch(uSh, ivec3(at, ${l}), 0);`);
  return `${COMMON}
uniform usampler2D uShape;
uniform sampler2D uBase;
uniform usampler2DArray uSh;
uniform vec3 uViewer;
uniform float uUnit;
out uint packedColor;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  vec3 d = normalize(placeOf(texelFetch(uShape, at, 0), uUnit) - uViewer);
  vec3 s = d * d;
${fetches.join("\n")}
  vec3 c = 0.5 + 0.28209479177387814 * (texelFetch(uBase, at, 0).rgb - 0.5) / 0.15;
${terms.join("\n")}
  uvec3 q = uvec3(clamp(c * 511.5, 0.0, 1023.0) + 0.5);
  packedColor = min(q.x, 1023u) | (min(q.y, 1023u) << 10u) | (min(q.z, 1023u) << 20u);
}
`;
}

/** Squares an instance: an instance of one square each costs some drivers more than the square. */
export const BATCH = 1024;

/** One corner of the square around the ellipse where alpha reaches 1/255. */
export const SPLAT_VERTEX = `${COMMON}
uniform usampler2D uShape;
uniform sampler2D uBase;
uniform usampler2D uColor;
uniform mat3 uRotation;
uniform vec3 uTranslation;
uniform vec4 uFocal;
uniform vec2 uSize;
uniform vec4 uLimits;
uniform float uUnit;
uniform float uNear;
uniform bool uAntialias;
uniform usampler2D uOrder;
uniform uint uVisible;
out vec2 vOffset;
flat out vec4 vColor;

// Columns are the splat's axes: the rotation of the unit quaternion q (x, y, z, w).
mat3 rotationOf(vec4 q) {
  vec3 a = q.xyz * q.xyz;
  vec3 b = q.xxy * q.yzz;
  vec3 c = q.xyz * q.w;
  return mat3(
    1.0 - 2.0 * (a.y + a.z), 2.0 * (b.x + c.z), 2.0 * (b.y - c.y),
    2.0 * (b.x - c.z), 1.0 - 2.0 * (a.x + a.z), 2.0 * (b.z + c.x),
    2.0 * (b.y + c.y), 2.0 * (b.z - c.x), 1.0 - 2.0 * (a.x + a.y));
}

float small(uint bits) {
  float m = float(bits & 511u) * (0.7071067811865476 / 511.0);
  return (bits & 512u) != 0u ? -m : m;
}

// The largest component is left out of the file; its place is in the two upper bits.
vec4 quaternionOf(uint w) {
  vec3 s = vec3(small(w >> 20u), small(w >> 10u), small(w));
  float l = sqrt(max(0.0, 1.0 - dot(s, s)));
  uint place = w >> 30u;
  return place == 0u ? vec4(l, s) : place == 1u ? vec4(s.x, l, s.yz) : place == 2u ? vec4(s.xy, l, s.z) : vec4(s, l);
}

void main() {
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);
  uint slot = uint(gl_InstanceID) * ${BATCH}u + uint(gl_VertexID >> 2);
  if (slot >= uVisible) return;
  ivec2 at = texelOf(texelFetch(uOrder, texelOf(slot), 0).r);
  uvec4 w = texelFetch(uShape, at, 0);
  vec3 p = uRotation * placeOf(w, uUnit) + uTranslation;
  if (!(p.z >= uNear)) return;
  float opacity = texelFetch(uBase, at, 0).a;

  vec2 slope = clamp(p.xy / p.z, uLimits.xz, uLimits.yw);
  vec2 j = uFocal.xy / p.z;
  mat3 rows = transpose(uRotation);
  vec3 scale = exp(vec3(w.xyz >> 24u) / 16.0 - 10.0);
  mat3 turn = rotationOf(quaternionOf(w.w));
  vec3 v0 = (j.x * (rows[0] - slope.x * rows[2]) * turn) * scale;
  vec3 v1 = (j.y * (rows[1] - slope.y * rows[2]) * turn) * scale;
  vec3 n = cross(v0, v1);
  float sharp = dot(n, n);
  float a = dot(v0, v0) + 0.3;
  float b = dot(v0, v1);
  float c = dot(v1, v1) + 0.3;
  float det = sharp + 0.3 * (a + c - 0.6) + 0.09;
  if (uAntialias) opacity *= sqrt(max(sharp / det, 1e-12));
  if (!(opacity >= 1.0 / 255.0) || !(det > 0.0)) return;

  // The ellipse's axes: eigenvectors of (a b; b c), each from its better conditioned formula.
  float mid = 0.5 * (a + c);
  float l0 = mid + length(vec2(0.5 * (a - c), b));
  float l1 = max(det / l0, 0.0);
  vec2 e = a >= c ? vec2(l0 - c, b) : vec2(b, l0 - a);
  e = dot(e, e) > 0.0 ? normalize(e) : vec2(1.0, 0.0);
  vec2 corner = vec2((gl_VertexID & 1) == 0 ? -1.0 : 1.0, (gl_VertexID & 2) == 0 ? -1.0 : 1.0);
  vOffset = corner * sqrt(2.0 * log(255.0 * opacity));
  vec2 pixel = uFocal.xy * p.xy / p.z + uFocal.zw;
  pixel += vOffset.x * sqrt(l0) * e + vOffset.y * sqrt(l1) * vec2(-e.y, e.x);
  gl_Position = vec4(2.0 * pixel.x / uSize.x - 1.0, 1.0 - 2.0 * pixel.y / uSize.y, 0.0, 1.0);
  uint q = texelFetch(uColor, at, 0).r;
  vColor = vec4(vec3(uvec3(q, q >> 10u, q >> 20u) & 1023u) / 511.5, opacity);
}
`;

export const SPLAT_FRAGMENT = `${HEAD}
in vec2 vOffset;
flat in vec4 vColor;
out vec4 color;
void main() {
  float alpha = vColor.a * exp(-0.5 * dot(vOffset, vOffset));
  if (alpha < 1.0 / 255.0) discard;
  alpha = min(alpha, 0.99);
  color = vec4(vColor.rgb * alpha, alpha);
}
`;
