/*
 * What an access says beside its addresses, as small numbers for the hot path: read, write or both (IHI 0070 13.1.1), and its
 * attributes, which an STE may override (5.2: PRIVCFG, INSTCFG).
 * Not modelled: the NS attribute and its override: every access is Non-secure.
 */
import type { DmaAccess } from './dma-access.ts';

/** What an access does: `rw` wherever it is a number. */
export const ACCESS_KIND = { read: 0, write: 1, atomic: 2 } as const;

/** Attributes of an access are the sum of these two, 0 for unprivileged data. */
export const PRIVILEGED = 4;
export const INSTRUCTION = 8;
/** STE.PRIVCFG and STE.INSTCFG: 2 and 3 override, 2 with unprivileged or data, 3 with privileged or instruction (5.2). */
const OVERRIDES = 2;
const OVERRIDES_SET = 3;

/** The attributes that a transaction comes with: only reads fetch instructions. */
export function attributesOf(access: Pick<DmaAccess, 'rw' | 'privileged' | 'instruction'>): number {
  return (
    (access.privileged === true ? PRIVILEGED : 0) |
    (access.instruction === true && access.rw === 'read' ? INSTRUCTION : 0)
  );
}

/** Attributes after the overrides of an STE: `rw` 0 to 2, `privCfg` and `instCfg` 0 to 3. */
export function effectiveAttributes(
  attributes: number,
  stream: { readonly privCfg: number; readonly instCfg: number },
  rw: number,
): number {
  const { privCfg, instCfg } = stream;
  let out = attributes;
  if (privCfg >= OVERRIDES) out = privCfg === OVERRIDES_SET ? out | PRIVILEGED : out & ~PRIVILEGED;
  if (rw !== ACCESS_KIND.read) return out & ~INSTRUCTION;
  if (instCfg >= OVERRIDES)
    out = instCfg === OVERRIDES_SET ? out | INSTRUCTION : out & ~INSTRUCTION;
  return out;
}

/** Access and attributes as one number below 16: `rw` 0 to 2, `attributes` 0, 4, 8 or 12. */
export function accessMode(rw: number, attributes: number): number {
  return rw | attributes;
}

/** True with the privilege attribute. */
export function isPrivileged(attributes: number): boolean {
  return (attributes & PRIVILEGED) !== 0;
}

/** True for a fetch of instructions. */
export function isInstruction(attributes: number): boolean {
  return (attributes & INSTRUCTION) !== 0;
}
