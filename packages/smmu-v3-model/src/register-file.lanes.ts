/*
 * The Non-secure register pages (IHI 0070 6.1-6.3): storage, access rules, acknowledgement.
 * Not modelled: the Secure, Realm and Root pages, ATOS, ECMDQ, MPAM, DPT (RAZ/WI); preset bases keep their restored value;
 * register reset values that the architecture leaves unknown are 0 here, but for GBPA, whose reset value is among the features.
 */
import { CR0, CR1, CR2, GBPA, IRQ_CTRL, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import type { MmioFrame } from '@iommukit/platform';
import type { Features, IdrWords } from './features.ts';
import type { InterfacePolicy } from './interface-policy.ts';
import { ModelUseError } from './model-error.ts';
import { EVENTQ_CONS, EVENTQ_PROD, PAGE_ONE, PRIQ_CONS, PRIQ_PROD } from './queue-index.ts';

const FRAME = 0x20000;
/** Registers of page 0 end below this; the queue indices of page 1 are stored under their page-0 aliases. */
const STORED = 0x200;

/** What the rest of the model does when a register changes. */
export interface RegisterEffects {
  /** CR0ACK changed. */
  enablesChanged(before: number, after: number): void;
  /** GERRORN was written. */
  errorsAcknowledged(before: number, after: number): void;
  commandQueueKick(): void;
  /** EVENTQ_CONS was written: there may be room. */
  eventQueueMoved(): void;
  streamTableMoved(): void;
}

/** Choices that decide how registers answer. */
export type RegisterPolicy = Pick<
  InterfacePolicy,
  'guardedWrites' | 'reservedBits' | 'pageZeroIndexes' | 'pageOneRest'
> & { readonly acknowledge: 'immediate' | 'run' };

const SMMUEN = CR0.mask('SMMUEN')[0] as number;
const PRIQEN = CR0.mask('PRIQEN')[0] as number;
const EVENTQEN = CR0.mask('EVENTQEN')[0] as number;
const CMDQEN = CR0.mask('CMDQEN')[0] as number;
const ATSCHK = CR0.mask('ATSCHK')[0] as number;
const VMW = CR0.mask('VMW')[0] as number;
const ANY_QUEUE = PRIQEN | EVENTQEN | CMDQEN;
const CR1_TABLE = CR1.mask('TABLE_IC', 'TABLE_OC', 'TABLE_SH')[0] as number;
const CR1_QUEUE = CR1.mask('QUEUE_IC', 'QUEUE_OC', 'QUEUE_SH')[0] as number;
const E2H = CR2.mask('E2H')[0] as number;
const RECINVSID = CR2.mask('RECINVSID')[0] as number;
const REC_CFG_ATS = CR2.mask('REC_CFG_ATS')[0] as number;
const GBPA_UPDATE = GBPA.mask('Update')[0] as number;
const GBPA_KEPT = GBPA.mask(
  'MemAttr',
  'MTCFG',
  'ALLOCCFG',
  'SHCFG',
  'PRIVCFG',
  'INSTCFG',
  'ABORT',
)[0] as number;
const GERROR_IRQEN = IRQ_CTRL.mask('GERROR_IRQEN')[0] as number;
const PRIQ_IRQEN = IRQ_CTRL.mask('PRIQ_IRQEN')[0] as number;
const EVENTQ_IRQEN = IRQ_CTRL.mask('EVENTQ_IRQEN')[0] as number;
const GERROR_BITS = 0x7ff;
const INDEX_BITS = 0x000f_ffff;
const OVERFLOW = 0x8000_0000;
const CONS_ERR = 0x7f00_0000;
const PRIQ_LO = 0x8000_0000;
const STRTAB_CFG_BITS = 0x0003_07ff;
const BASE_HI = 0x40ff_ffff;
const ALL = 0xffff_ffff;

/** The register frame of both pages, with the access rules of 6.3. Index `words` with a byte offset / 4. */
export class RegisterFile implements MmioFrame {
  hi = 0;
  readonly words: Uint32Array = new Uint32Array(STORED / 4);
  readonly #features: Features;
  readonly #policy: RegisterPolicy;
  readonly #effects: RegisterEffects;
  readonly #cr0Mask: number;
  readonly #cr2Mask: number;
  readonly #irqMask: number;
  /** Guards bind from SMMUv3.2 on; before, a device may take the write. */
  readonly #guarded: boolean;
  readonly #keepReserved: boolean;

  constructor(parts: {
    idr: IdrWords;
    features: Features;
    policy: RegisterPolicy;
    effects: RegisterEffects;
  }) {
    const { idr, features, policy } = parts;
    this.#features = features;
    this.#policy = policy;
    this.#effects = parts.effects;
    this.#guarded = policy.guardedWrites === 'ignored' || features.minor >= 2;
    this.#keepReserved = policy.reservedBits === 'stored';
    this.#cr0Mask =
      SMMUEN |
      EVENTQEN |
      CMDQEN |
      (features.pri ? PRIQEN : 0) |
      (features.ats ? ATSCHK : 0) |
      (features.vmw ? VMW : 0);
    // PTM exists with broadcast maintenance only, which is refused at construction.
    this.#cr2Mask = RECINVSID | (features.hyp ? E2H : 0) | (features.atsRecErr ? REC_CFG_ATS : 0);
    this.#irqMask = GERROR_IRQEN | EVENTQ_IRQEN | (features.pri ? PRIQ_IRQEN : 0);
    const { words } = this;
    words[R.IDR0 / 4] = idr.IDR0;
    words[R.IDR1 / 4] = idr.IDR1;
    words[R.IDR2 / 4] = idr.IDR2 ?? 0;
    words[R.IDR3 / 4] = idr.IDR3 ?? 0;
    words[R.IDR4 / 4] = idr.IDR4 ?? 0;
    words[R.IDR5 / 4] = idr.IDR5;
    words[R.IIDR / 4] = idr.IIDR ?? 0;
    words[R.AIDR / 4] = idr.AIDR ?? 0;
    words[R.GBPA / 4] = this.#kept(features.gbpa, GBPA_KEPT) & ~GBPA_UPDATE;
  }

  read32(offset: number): number {
    checkAccess(offset, 4);
    const at = this.#place(offset);
    return at < 0 ? 0 : (this.words[at] as number);
  }

  read64(offset: number): number {
    checkAccess(offset, 8);
    this.hi = this.read32(offset + 4);
    return this.read32(offset);
  }

  write64(offset: number, lo: number, hi: number): void {
    checkAccess(offset, 8);
    this.write32(offset, lo);
    this.write32(offset + 4, hi);
  }

  write32(offset: number, value: number): void {
    checkAccess(offset, 4);
    const at = this.#place(offset);
    if (at >= 0) this.#write(at * 4, value >>> 0);
  }

  /** Acknowledges what CR0, IRQ_CTRL and GBPA ask for; true when something changed. */
  acknowledge(): boolean {
    const { words } = this;
    const irq = (words[R.IRQ_CTRL / 4] as number) & this.#irqMask;
    const gbpa = words[R.GBPA / 4] as number;
    let changed = words[R.IRQ_CTRLACK / 4] !== irq || (gbpa & GBPA_UPDATE) !== 0;
    words[R.IRQ_CTRLACK / 4] = irq;
    words[R.GBPA / 4] = gbpa & ~GBPA_UPDATE;
    const before = words[R.CR0ACK / 4] as number;
    const after = ((words[R.CR0 / 4] as number) & this.#cr0Mask) >>> 0;
    if (before !== after) {
      words[R.CR0ACK / 4] = after;
      changed = true;
      this.#effects.enablesChanged(before, after);
    }
    return changed;
  }

  /** Puts a dumped register file in place, without access rules or side effects. ID registers keep the constructor's words. */
  restore(dump: ReadonlyMap<number, number>): void {
    const entries = [...dump].sort(([a], [b]) => a - b);
    for (const [offset, value] of entries) {
      checkAccess(offset, 4);
      const at = storage(offset);
      if (at > R.AIDR / 4) this.words[at] = value;
    }
    if (!dump.has(R.CR0ACK))
      this.words[R.CR0ACK / 4] = (this.words[R.CR0 / 4] as number) & this.#cr0Mask;
    if (!dump.has(R.IRQ_CTRLACK))
      this.words[R.IRQ_CTRLACK / 4] = (this.words[R.IRQ_CTRL / 4] as number) & this.#irqMask;
    this.#effects.streamTableMoved();
  }

  /** Storage index of an offset as software sees it; -1 where it reads as zero. */
  #place(offset: number): number {
    if (offset < STORED) {
      const hidden = this.#policy.pageZeroIndexes === 'raz-wi' && isIndex(offset);
      return hidden ? -1 : storage(offset);
    }
    if (offset >= PAGE_ONE && this.#policy.pageOneRest === 'alias' && offset - PAGE_ONE < STORED)
      return (offset - PAGE_ONE) / 4;
    return storage(offset);
  }

  /** What a register holds of a written word, whose defined fields are `mask`. */
  #kept(value: number, mask: number): number {
    return (this.#keepReserved ? value : value & mask) >>> 0;
  }

  #write(offset: number, value: number): void {
    const { words } = this;
    const at = offset / 4;
    switch (offset) {
      case R.CR0:
        words[at] = this.#kept(this.#singleUpdate(value), this.#cr0Mask);
        if (this.#policy.acknowledge === 'immediate') this.acknowledge();
        return;
      case R.CR1: {
        const old = words[at] as number;
        const open =
          (this.#closed(SMMUEN) ? 0 : CR1_TABLE) | (this.#closed(ANY_QUEUE) ? 0 : CR1_QUEUE);
        const rest = this.#keepReserved ? ~(CR1_TABLE | CR1_QUEUE) : 0;
        words[at] = (old & ~(open | rest)) | (value & (open | rest));
        return;
      }
      case R.CR2:
        if (!this.#closed(SMMUEN)) words[at] = this.#kept(value, this.#cr2Mask);
        return;
      case R.GBPA:
        this.#writeGbpa(value);
        return;
      case R.AGBPA:
        words[at] = value;
        return;
      case R.IRQ_CTRL:
        words[at] = this.#kept(value, this.#irqMask);
        if (this.#policy.acknowledge === 'immediate') this.acknowledge();
        return;
      case R.GERRORN: {
        const before = words[at] as number;
        words[at] = this.#kept(value, GERROR_BITS);
        this.#effects.errorsAcknowledged(before, words[at] as number);
        return;
      }
      case R.STRTAB_BASE:
      case R.STRTAB_BASE + 4:
      case R.STRTAB_BASE_CFG:
        if (this.#closed(SMMUEN) || this.#features.tablesPreset) return;
        words[at] = this.#kept(value, strtabMask(offset));
        this.#effects.streamTableMoved();
        return;
      default:
        this.#writeQueue(offset, value);
    }
  }

  /** Bases and indices of the queues; all other registers that take writes are those of interrupts (6.3). */
  #writeQueue(offset: number, value: number): void {
    const { words } = this;
    const { pri } = this.#features;
    const at = offset / 4;
    switch (offset) {
      case R.CMDQ_BASE:
      case R.CMDQ_BASE + 4:
        this.#writeBase(offset, value, CMDQEN);
        return;
      case R.EVENTQ_BASE:
      case R.EVENTQ_BASE + 4:
        this.#writeBase(offset, value, EVENTQEN);
        return;
      case R.PRIQ_BASE:
      case R.PRIQ_BASE + 4:
        if (pri) this.#writeBase(offset, value, PRIQEN);
        return;
      case R.CMDQ_PROD:
        words[at] = this.#kept(value, INDEX_BITS);
        this.#effects.commandQueueKick();
        return;
      case R.CMDQ_CONS:
        // The guard of CMDQ_CONS and of the PRODs is no choice of an older version: they are read-only while enabled (6.3.28).
        if (!this.#enabled(CMDQEN)) words[at] = this.#kept(value, INDEX_BITS | CONS_ERR);
        return;
      case EVENTQ_PROD:
        if (!this.#enabled(EVENTQEN)) words[at] = this.#kept(value, INDEX_BITS | OVERFLOW);
        return;
      case EVENTQ_CONS:
        words[at] = this.#kept(value, INDEX_BITS | OVERFLOW);
        this.#effects.eventQueueMoved();
        return;
      case PRIQ_PROD:
        if (pri && !this.#enabled(PRIQEN)) words[at] = this.#kept(value, INDEX_BITS | OVERFLOW);
        return;
      case PRIQ_CONS:
        if (pri) words[at] = this.#kept(value, INDEX_BITS | OVERFLOW);
        return;
      default:
        this.#writeInterruptConfig(offset, value);
    }
  }

  /** A field whose update is not acknowledged yet keeps its target, unless the write takes it back (6.3.9). */
  #singleUpdate(value: number): number {
    const target = this.words[R.CR0 / 4] as number;
    const now = this.words[R.CR0ACK / 4] as number;
    const moving = (target ^ now) & VMW;
    if (moving === 0 || (value & VMW) === (now & VMW)) return value;
    return (value & ~VMW) | (target & VMW);
  }

  #writeGbpa(value: number): void {
    const at = R.GBPA / 4;
    const old = this.words[at] as number;
    // Without Update, or while one is under way, the write is ignored from SMMUv3.2 on and unpredictable before (6.3.14).
    if ((value & GBPA_UPDATE) === 0 || (old & GBPA_UPDATE) !== 0) return;
    const update = this.#policy.acknowledge === 'immediate' ? 0 : GBPA_UPDATE;
    this.words[at] = (this.#kept(value, GBPA_KEPT) & ~GBPA_UPDATE) | update;
  }

  #writeBase(offset: number, value: number, enable: number): void {
    if (this.#closed(enable) || this.#features.queuesPreset) return;
    this.words[offset / 4] = this.#kept(value, offset % 8 === 0 ? ALL : BASE_HI);
  }

  #writeInterruptConfig(offset: number, value: number): void {
    const enable = interruptEnableOf(offset);
    const { msi, pri } = this.#features;
    if (enable === 0 || (enable === PRIQ_IRQEN && !pri)) return;
    // Without MSI all of them are RES0 but PRIQ_IRQ_CFG2.LO (6.3.36).
    const mask = msi ? interruptConfigMask(offset) : offset === R.PRIQ_IRQ_CFG2 ? PRIQ_LO : 0;
    const { words } = this;
    const busy =
      ((words[R.IRQ_CTRL / 4] as number) | (words[R.IRQ_CTRLACK / 4] as number)) & enable;
    if (busy === 0 || !this.#guarded) words[offset / 4] = this.#kept(value, mask);
  }

  /** True while a field of CR0 or its acknowledgement is set, or in transition. */
  #enabled(fields: number): boolean {
    return (
      (((this.words[R.CR0 / 4] as number) | (this.words[R.CR0ACK / 4] as number)) & fields) !== 0
    );
  }

  /** True when a guard of 6.3 keeps a write out. */
  #closed(fields: number): boolean {
    return this.#guarded && this.#enabled(fields);
  }
}

/** Where a register is stored; -1 for none. */
function storage(offset: number): number {
  if (offset < STORED) return offset / 4;
  return offset >= PAGE_ONE && isIndex(offset - PAGE_ONE) ? (offset - PAGE_ONE) / 4 : -1;
}

/** The registers that page 1 holds. */
function isIndex(offset: number): boolean {
  return (
    offset === EVENTQ_PROD || offset === EVENTQ_CONS || offset === PRIQ_PROD || offset === PRIQ_CONS
  );
}

function checkAccess(offset: number, bytes: number): void {
  if (offset % bytes !== 0 || offset < 0 || offset + bytes > FRAME)
    throw new ModelUseError(
      'REGISTER_ACCESS',
      { offset, bytes },
      `no ${bytes * 8}-bit register at ${hex(offset)}`,
      'Use an aligned offset below 0x20000',
    );
}

function strtabMask(offset: number): number {
  if (offset === R.STRTAB_BASE) return 0xffff_ffc0;
  return offset === R.STRTAB_BASE + 4 ? BASE_HI : STRTAB_CFG_BITS;
}

function interruptEnableOf(offset: number): number {
  if (offset >= R.GERROR_IRQ_CFG0 && offset <= R.GERROR_IRQ_CFG2) return GERROR_IRQEN;
  if (offset >= R.EVENTQ_IRQ_CFG0 && offset <= R.EVENTQ_IRQ_CFG2) return EVENTQ_IRQEN;
  if (offset >= R.PRIQ_IRQ_CFG0 && offset <= R.PRIQ_IRQ_CFG2) return PRIQ_IRQEN;
  return 0;
}

function interruptConfigMask(offset: number): number {
  switch (offset) {
    case R.GERROR_IRQ_CFG0:
    case R.EVENTQ_IRQ_CFG0:
    case R.PRIQ_IRQ_CFG0:
      return 0xffff_fffc;
    case R.GERROR_IRQ_CFG0 + 4:
    case R.EVENTQ_IRQ_CFG0 + 4:
    case R.PRIQ_IRQ_CFG0 + 4:
      return 0x00ff_ffff;
    case R.GERROR_IRQ_CFG2:
    case R.EVENTQ_IRQ_CFG2:
      return 0x3f;
    case R.PRIQ_IRQ_CFG2:
      return PRIQ_LO | 0x3f;
    default:
      return ALL;
  }
}
