import { openCapture } from '@iommukit/captures';
import { replayCapture, shippedCapture } from '../src/index.ts';

const capture = openCapture(shippedCapture('linux-6.12-strict-up') ?? '');
const EVENTS = 75_323;
const [trace, qemuOps] = [capture.trace(), capture.qemuOps()];
const parsed = { ...capture, trace: () => trace, qemuOps: () => qemuOps };

/** Replay with all its checks against parsing the same files, gunzip included. */
export const cases = [
  {
    name: 'parse trace and QEMU log (event)',
    reference: true as const,
    ops: EVENTS,
    run: () => capture.trace().events.length + capture.qemuOps().ops.length,
  },
  {
    name: 'replay of what was parsed (event)',
    ops: EVENTS,
    run: () => replayCapture(parsed).summary.equal,
  },
  {
    name: 'parse and replay (event)',
    ops: EVENTS,
    run: () => replayCapture(capture).summary.equal,
  },
];
