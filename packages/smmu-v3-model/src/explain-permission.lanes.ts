/*
 * Which bit refused an access (DDI 0487 D8.4; IHI 0070 5.2, 5.4, 13.4): the reasons behind `permission.lanes.ts`, for people.
 * Not modelled: what that file does not.
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
import { isWritableClean } from './permission.lanes.ts';
import type { Regime } from './regime.ts';
import type { TlbEntry, WalkEntry } from './tlb-entry.ts';

/** A bit that stands in the way, and where it is specified. */
export interface Refusal {
  readonly says: string;
  readonly section: string;
}

const READ = 1 | 8;
const WRITE = 2 | 16;
const EXECUTE = 4 | 32;
const PRIVILEGED = 8 | 16 | 32;
const PERMISSIONS = 'DDI 0487 D8.4';
const CD_FIELDS = 'IHI 0070 5.4';

/** The bits that refuse `need`, of a leaf that lacks it; empty when the leaf grants it or was made under another CD. */
export function refusingBits(entry: TlbEntry, regime: Regime, need: number): Refusal[] {
  const missing = need & ~entry.dirtied;
  return regime.stage === 2
    ? stage2Bits(entry, regime, missing)
    : stage1Bits(entry, regime, missing);
}

/** What an access wants, in words. */
export function needText(need: number): string {
  const kinds = [
    ...((need & READ) !== 0 ? ['read'] : []),
    ...((need & WRITE) !== 0 ? ['write'] : []),
    ...((need & EXECUTE) !== 0 ? ['execution'] : []),
  ];
  return `${(need & PRIVILEGED) !== 0 ? 'privileged' : 'unprivileged'} ${kinds.join(' and ')}`;
}

function stage2Bits({ lo, hi, level }: TlbEntry, regime: Regime, missing: number): Refusal[] {
  const at = `of the stage 2 level ${level} leaf`;
  const out: Refusal[] = [];
  if ((missing & READ) !== 0 && (lo & PTE_LO_S2AP_READ) === 0)
    out.push({ says: `S2AP[0]=0 ${at} refuses reads`, section: PERMISSIONS });
  if ((missing & WRITE) !== 0 && (lo & PTE_LO_S2AP_WRITE) === 0)
    out.push({
      says: `S2AP[1]=0 ${at} refuses writes${cleanNote(regime, hi)}`,
      section: PERMISSIONS,
    });
  if ((missing & EXECUTE) !== 0) {
    const xn = ((hi & PTE_HI_UXN) !== 0 ? 2 : 0) + ((hi & PTE_HI_PXN) !== 0 ? 1 : 0);
    const bits = regime.xnx ? `XN=${xn.toString(2).padStart(2, '0')}` : 'XN[1]=1';
    out.push({ says: `${bits} ${at} refuses execution`, section: PERMISSIONS });
  }
  return out;
}

function stage1Bits(entry: TlbEntry, regime: Regime, missing: number): Refusal[] {
  const { lo, hi, level } = entry;
  const at = `of the stage 1 level ${level} leaf`;
  const tables = regime.had ? [] : tablesAbove(entry.parent);
  const out: Refusal[] = [];
  const add = (says: string, section = PERMISSIONS): void => {
    out.push({ says, section });
  };
  const limited = (mask: number, name: string, what: string): boolean => {
    const table = tables.find((one) => (one.hi & mask) !== 0);
    if (table !== undefined)
      add(`${name}=1 of the stage 1 level ${table.level} table refuses ${what}`);
    return table !== undefined;
  };
  const el2 = regime.rule === 'el2';
  const privileged = !el2 && (missing & PRIVILEGED) !== 0;
  const data = (missing & (READ | WRITE)) !== 0;
  if (data && !el2 && !privileged) {
    if ((lo & PTE_LO_AP_UNPRIV) === 0) add(`AP[1]=0 ${at} refuses unprivileged accesses`);
    limited(PTE_HI_APTABLE_NO_UNPRIV, 'APTable[0]', 'unprivileged accesses');
  }
  if ((missing & WRITE) !== 0) {
    if ((lo & PTE_LO_AP_RDONLY) !== 0 && !isWritableClean(regime, lo, hi))
      add(`AP[2]=1 ${at} refuses writes${cleanNote(regime, hi)}`);
    limited(PTE_HI_APTABLE_NO_WRITE, 'APTable[1]', 'writes');
  }
  if (data && privileged && regime.pan) {
    const reached =
      (lo & PTE_LO_AP_UNPRIV) !== 0 &&
      !tables.some((one) => (one.hi & PTE_HI_APTABLE_NO_UNPRIV) !== 0);
    if (reached) add('CD.PAN=1 refuses privileged data accesses where AP[1]=1', CD_FIELDS);
    else if (regime.epan && (hi & PTE_HI_UXN) === 0)
      add('CD.PAN=1 with EPAN=1 refuses privileged data accesses where UXN=0', CD_FIELDS);
  }
  if ((missing & EXECUTE) !== 0) {
    const before = out.length;
    if (privileged) {
      if ((hi & PTE_HI_PXN) !== 0) add(`PXN=1 ${at} refuses privileged execution`);
      limited(PTE_HI_PXNTABLE, 'PXNTable', 'privileged execution');
    } else {
      const name = el2 ? 'XN' : 'UXN';
      if ((hi & PTE_HI_UXN) !== 0)
        add(`${name}=1 ${at} refuses ${el2 ? '' : 'unprivileged '}execution`);
      limited(PTE_HI_UXNTABLE, `${name}Table`, 'execution');
    }
    if (out.length === before && regime.wxn)
      add('CD.WXN=1 refuses execution of what may be written', CD_FIELDS);
    else if (out.length === before && privileged)
      add('AP=01: what may be written unprivileged is not executed privileged');
  }
  return out;
}

function cleanNote(regime: Regime, hi: number): string {
  return (hi & PTE_HI_DBM) === 0 || regime.hd ? '' : ' (DBM=1, but hardware keeps no dirty state)';
}

function tablesAbove(last: WalkEntry | undefined): WalkEntry[] {
  const tables: WalkEntry[] = [];
  for (let table = last; table !== undefined; table = table.parent) tables.unshift(table);
  return tables;
}
