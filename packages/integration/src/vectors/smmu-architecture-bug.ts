import type { Grounds, Script } from './smmu-architecture-script.lanes.ts';

/** One published bug and the program that catches it. */
export interface Bug extends Grounds {
  readonly name: string;
  readonly about: string;
  readonly features?: string;
  readonly base?: string;
  readonly catches: string;
  readonly write: (s: Script) => void;
}

/** The mapped page of stage 1, and what stage 2 alone or a nested stream maps. */
export const PAGE = 0x1000;
export const IPA = 0x9000_0000;
/** The input address of most records. */
export const at: { readonly address: bigint } = { address: BigInt(PAGE) };

/** The implementations, each as its code was read. */
export const OPENVMM = 'OpenVMM (August 2026)';
export const GEM5 = 'gem5 (2024)';
export const QEMU = 'QEMU 11.1.3';
export const OLD_QEMU = 'QEMU (8.1 era)';
