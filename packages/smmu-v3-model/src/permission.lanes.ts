/*
 * What a leaf permits (DDI 0487 D8.4; IHI 0070 13.4).
 * Not modelled: permission indirection and overlays, GCS, MTE.
 *
 * A set of permissions is six bits: unprivileged read 1, write 2, execute 4; privileged 8, 16, 32.
 */
import {
  PTE_HI_APTABLE_NO_UNPRIV,
  PTE_HI_APTABLE_NO_WRITE,
  PTE_HI_DBM,
  PTE_HI_PXN,
  PTE_HI_PXNTABLE,
  PTE_HI_UXN,
  PTE_HI_UXNTABLE,
  PTE_LO_AP_RDONLY,
  PTE_LO_AP_UNPRIV,
  PTE_LO_S2AP_READ,
  PTE_LO_S2AP_WRITE,
} from '@iommukit/arm-arch';
import { ACCESS_KIND, isInstruction, isPrivileged } from './access-mode.lanes.ts';
import type { Regime } from './regime.ts';

const NO_EL0 = 1;
const NO_WRITE = 2;
const NO_UNPRIV_EXECUTE = 4;
const NO_PRIV_EXECUTE = 8;

/** Every write, at either privilege. */
export const ANY_WRITE: number = 2 | 16;
/** How the SMMU reads configuration and tables: privileged data (5.2). */
export const STRUCTURE_READ = 8;
/** How it updates them. */
export const STRUCTURE_WRITE = 16;

/** The permissions that an access needs: `rw` 0 to 2 and `attributes` 0, 4, 8 or 12, see `access-mode.lanes.ts`. */
export function neededBits(rw: number, attributes: number): number {
  const bits =
    rw === ACCESS_KIND.write
      ? 2
      : rw === ACCESS_KIND.atomic
        ? 3
        : isInstruction(attributes)
          ? 4
          : 1;
  return isPrivileged(attributes) ? bits << 3 : bits;
}

/** True when `permissions` has all of `need`. */
export function permits(permissions: number, need: number): boolean {
  return (permissions & need) === need;
}

/** What two stages permit together. */
export function bothPermit(inner: number, outer: number): number {
  return inner & outer;
}

/** True when what is missing includes a write: F_PERMISSION of an atomic then says RnW=0 (13.1.1). */
export function lacksWrite(permissions: number, need: number): boolean {
  return (need & ~permissions & ANY_WRITE) !== 0;
}

/** True when the access writes. */
export function writes(need: number): boolean {
  return (need & ANY_WRITE) !== 0;
}

/** The limits that a stage-1 table descriptor sets on what lies below it; any high lane. */
export function tableLimits(hi: number): number {
  return (
    ((hi & PTE_HI_APTABLE_NO_UNPRIV) !== 0 ? NO_EL0 : 0) |
    ((hi & PTE_HI_APTABLE_NO_WRITE) !== 0 ? NO_WRITE : 0) |
    ((hi & PTE_HI_UXNTABLE) !== 0 ? NO_UNPRIV_EXECUTE : 0) |
    ((hi & PTE_HI_PXNTABLE) !== 0 ? NO_PRIV_EXECUTE : 0)
  );
}

/** A leaf that dirty-state hardware may make writable (D8.5): read-only by AP[2] or S2AP[1] alone, with DBM=1. */
export function isWritableClean(regime: Regime, lo: number, hi: number): boolean {
  if (!regime.hd || (hi & PTE_HI_DBM) === 0) return false;
  return regime.stage === 1 ? (lo & PTE_LO_AP_RDONLY) !== 0 : (lo & PTE_LO_S2AP_WRITE) === 0;
}

/** The low lane of a writable-clean leaf after its first write; any lane, the result is below 2^32. */
export function dirtied(regime: Regime, lo: number): number {
  return (regime.stage === 1 ? lo & ~PTE_LO_AP_RDONLY : lo | PTE_LO_S2AP_WRITE) >>> 0;
}

/** Permissions of a leaf, of any lanes; a writable-clean one counts as writable. `limits` as from `tableLimits`. */
export function leafPermissions(regime: Regime, lo: number, hi: number, limits: number): number {
  if (regime.rule === 'stage2') return stage2Permissions(regime, lo, hi);
  const clean = isWritableClean(regime, lo, hi);
  const writable = ((lo & PTE_LO_AP_RDONLY) === 0 || clean) && (limits & NO_WRITE) === 0;
  if (regime.rule === 'el2') return el2Permissions(regime, hi, limits, writable ? 2 : 0);
  const el0 = (lo & PTE_LO_AP_UNPRIV) !== 0 && (limits & NO_EL0) === 0;
  const uxn = (hi & PTE_HI_UXN) !== 0 || (limits & NO_UNPRIV_EXECUTE) !== 0;
  const pxn = (hi & PTE_HI_PXN) !== 0 || (limits & NO_PRIV_EXECUTE) !== 0;
  const el0Writes = el0 && writable;
  const el0Executes = !uxn && !(regime.wxn && el0Writes);
  const el1Executes = !pxn && !el0Writes && !(regime.wxn && writable);
  const el1Data = !(regime.pan && (el0 || (regime.epan && !uxn)));
  return (
    (el0 ? 1 : 0) |
    (el0Writes ? 2 : 0) |
    (el0Executes ? 4 : 0) |
    (el1Data ? 8 : 0) |
    (el1Data && writable ? 16 : 0) |
    (el1Executes ? 32 : 0)
  );
}

/** NS-EL2 has one privilege: AP[1] reads as 1 and PnU is not looked at. `write` is 2, or 0 where nothing may be written. */
function el2Permissions(regime: Regime, hi: number, limits: number, write: number): number {
  const xn = (hi & PTE_HI_UXN) !== 0 || (limits & NO_UNPRIV_EXECUTE) !== 0;
  const bits = 1 | write | (!xn && !(regime.wxn && write !== 0) ? 4 : 0);
  return bits | (bits << 3);
}

/** S2AP knows no privilege; XN does with XNX, else bit 54 decides for both. Execution does not ask for S2AP[0]. */
function stage2Permissions(regime: Regime, lo: number, hi: number): number {
  const writable = (lo & PTE_LO_S2AP_WRITE) !== 0 || isWritableClean(regime, lo, hi);
  const bits = ((lo & PTE_LO_S2AP_READ) !== 0 ? 1 : 0) | (writable ? 2 : 0);
  const never = (hi & PTE_HI_UXN) !== 0;
  const odd = regime.xnx && (hi & PTE_HI_PXN) !== 0;
  // 00 both, 01 EL0 only, 10 none, 11 EL1 only.
  const el0 = !never;
  const el1 = never === odd;
  return bits | (bits << 3) | (el0 ? 4 : 0) | (el1 ? 32 : 0);
}
