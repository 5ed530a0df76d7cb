/*
 * What software has enabled, as far as the SMMU has acknowledged it (IHI 0070 6.3.9, 6.3.10, 6.3.12).
 * Not modelled: CR0 fields of absent features; a field whose update is under way acts as it was.
 */
import { CR0, CR2, REGISTER_OFFSET as R } from '@iommukit/arm-arch';

/** CR0.SMMUEN: streams are configured by the stream table. */
export function isEnabled(words: Uint32Array): boolean {
  return CR0.get.SMMUEN(words, R.CR0ACK / 4) === 1;
}

/** CR0.ATSCHK: translated transactions are checked against their STE. */
export function checksAts(words: Uint32Array): boolean {
  return CR0.get.ATSCHK(words, R.CR0ACK / 4) === 1;
}

/** CR2.E2H: streams of NS-EL2 have ASIDs. */
export function usesE2h(words: Uint32Array): boolean {
  return CR2.get.E2H(words, R.CR2 / 4) === 1;
}
