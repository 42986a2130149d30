// SPDX-License-Identifier: Apache-2.0
// The part of WebXR that xr.ts uses; TypeScript's own DOM library does not have it. W3C, "WebXR Device API".
interface XRSystem {
  isSessionSupported(mode: "immersive-vr"): Promise<boolean>;
  requestSession(mode: "immersive-vr"): Promise<XRSession>;
}
interface XRSession extends EventTarget {
  updateRenderState(state: { baseLayer: XRWebGLLayer }): Promise<void>;
  requestReferenceSpace(kind: "local"): Promise<XRReferenceSpace>;
  requestAnimationFrame(callback: XRFrameRequestCallback): number;
}
type XRReferenceSpace = EventTarget;
type XRFrameRequestCallback = (time: number, frame: XRFrame) => void;
interface XRFrame {
  getViewerPose(space: XRReferenceSpace): { views: XRView[] } | null;
}
interface XRView {
  transform: { matrix: Float32Array };
  projectionMatrix: Float32Array;
}
interface XRViewport {
  x: number;
  y: number;
  width: number;
  height: number;
}
declare class XRWebGLLayer {
  constructor(session: XRSession, gl: WebGL2RenderingContext, options: Record<"antialias" | "depth" | "stencil", boolean>);
  readonly framebuffer: WebGLFramebuffer | null;
  getViewport(view: XRView): XRViewport | null;
}
interface Navigator {
  readonly xr?: XRSystem;
}
interface WebGL2RenderingContext {
  makeXRCompatible(): Promise<void>;
}
