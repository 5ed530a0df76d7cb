import { openCapture } from '@iommukit/captures';
import { replayCapture, shippedCapture } from '../src/index.ts';

const capture = openCapture(shippedCapture('linux-6.12-strict-up') ?? '');
const EVENTS = 75_323;

/** The whole run (parsing, replay and all checks) against parsing alone: the same files, gunzip included. The replay itself is the ratio less 1. */
export const cases = [
  {
    name: 'parse trace and QEMU log (events)',
    reference: true as const,
    ops: EVENTS,
    run: () => capture.trace().events.length + capture.qemuOps().ops.length,
  },
  {
    name: 'parse and replay (events)',
    ops: EVENTS,
    run: () => replayCapture(capture).summary.equal,
  },
];
