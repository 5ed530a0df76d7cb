import type { DriverRig } from './driver-rig.ts';

/** A rule: its name and what it does with a fresh rig. */
export interface DriverRule {
  readonly name: string;
  run(rig: DriverRig): void;
}
