/*
 * The Non-secure register pages (IHI 0070 6.1-6.3): storage, access rules, acknowledgement.
 * Does not model: the Secure, Realm and Root pages, ATOS, ECMDQ, MPAM, DPT (RAZ/WI); preset bases keep their restored value;
 * register reset values that the architecture leaves unknown are 0 here.
 */
import { CR0, CR1, GBPA, IRQ_CTRL, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import type { MmioFrame } from '@iommukit/platform';
import type { Features, IdrWords } from './features.ts';
import { ModelUseError } from './model-error.ts';

const PAGE = 0x10000;
const FRAME = 0x20000;
/** Registers of page 0 end below this; the queue indices of page 1 are stored under their page-0 aliases. */
const STORED = 0x200;

/** What the rest of the model does when a register changes. */
export interface RegisterEffects {
  /** CR0ACK changed. */
  enablesChanged(): void;
  commandQueueKick(): void;
  streamTableMoved(): void;
}

const SMMUEN = CR0.mask('SMMUEN')[0] as number;
const PRIQEN = CR0.mask('PRIQEN')[0] as number;
const EVENTQEN = CR0.mask('EVENTQEN')[0] as number;
const CMDQEN = CR0.mask('CMDQEN')[0] as number;
const ATSCHK = CR0.mask('ATSCHK')[0] as number;
const VMW = CR0.mask('VMW')[0] as number;
const ANY_QUEUE = PRIQEN | EVENTQEN | CMDQEN;
const CR1_TABLE = CR1.mask('TABLE_IC', 'TABLE_OC', 'TABLE_SH')[0] as number;
const CR1_QUEUE = CR1.mask('QUEUE_IC', 'QUEUE_OC', 'QUEUE_SH')[0] as number;
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
const INDEX_BITS = 0x000f_ffff;
const OVERFLOW = 0x8000_0000;
const CONS_ERR = 0x7f00_0000;

/** The register frame of both pages, with the access rules of 6.3. Index `words` with a byte offset / 4. */
export class RegisterFile implements MmioFrame {
  hi = 0;
  readonly words: Uint32Array = new Uint32Array(STORED / 4);
  readonly #features: Features;
  readonly #effects: RegisterEffects;
  readonly #deferAck: boolean;
  readonly #cr0Mask: number;
  readonly #irqMask: number;

  constructor(
    idr: IdrWords,
    features: Features,
    effects: RegisterEffects,
    deferAck: 'immediate' | 'run',
  ) {
    this.#features = features;
    this.#effects = effects;
    this.#deferAck = deferAck === 'run';
    this.#cr0Mask =
      SMMUEN |
      EVENTQEN |
      CMDQEN |
      (features.pri ? PRIQEN : 0) |
      (features.ats ? ATSCHK : 0) |
      (features.vmw ? VMW : 0);
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
  }

  read32(offset: number): number {
    checkAccess(offset, 4);
    const at = place(offset);
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
    const at = place(offset);
    if (at >= 0) this.#write(at * 4, value >>> 0);
  }

  /** Acknowledges what CR0 and IRQ_CTRL ask for; true when something changed. */
  acknowledge(): boolean {
    const { words } = this;
    const irq = (words[R.IRQ_CTRL / 4] as number) & this.#irqMask;
    let changed = words[R.IRQ_CTRLACK / 4] !== irq;
    words[R.IRQ_CTRLACK / 4] = irq;
    const before = words[R.CR0ACK / 4] as number;
    const after = ((words[R.CR0 / 4] as number) & this.#cr0Mask) >>> 0;
    if (before !== after) {
      words[R.CR0ACK / 4] = after;
      changed = true;
      this.#effects.enablesChanged();
    }
    return changed;
  }

  /** Puts a dumped register file in place, without access rules or side effects. ID registers keep the constructor's words. */
  restore(dump: ReadonlyMap<number, number>): void {
    const entries = [...dump].sort(([a], [b]) => a - b);
    for (const [offset, value] of entries) {
      checkAccess(offset, 4);
      const at = place(offset);
      if (at > R.AIDR / 4) this.words[at] = value;
    }
    if (!dump.has(R.CR0ACK))
      this.words[R.CR0ACK / 4] = (this.words[R.CR0 / 4] as number) & this.#cr0Mask;
    if (!dump.has(R.IRQ_CTRLACK))
      this.words[R.IRQ_CTRLACK / 4] = (this.words[R.IRQ_CTRL / 4] as number) & this.#irqMask;
    this.#effects.streamTableMoved();
  }

  #write(offset: number, value: number): void {
    const { words } = this;
    const at = offset / 4;
    switch (offset) {
      case R.CR0:
        words[at] = value;
        if (!this.#deferAck) this.acknowledge();
        return;
      case R.CR1: {
        const old = words[at] as number;
        const open =
          (this.#closed(SMMUEN) ? 0 : CR1_TABLE) | (this.#closed(ANY_QUEUE) ? 0 : CR1_QUEUE);
        words[at] = (old & ~open) | (value & open);
        return;
      }
      case R.CR2:
        if (!this.#closed(SMMUEN)) words[at] = value & (this.#features.atsRecErr ? 0xf : 0x7);
        return;
      case R.GBPA:
        // Without Update the write is ignored from SMMUv3.2 on and unpredictable before (6.3.14).
        if ((value & GBPA_UPDATE) !== 0) words[at] = value & GBPA_KEPT;
        return;
      case R.AGBPA:
        words[at] = value;
        return;
      case R.IRQ_CTRL:
        words[at] = value;
        if (!this.#deferAck) this.acknowledge();
        return;
      case R.GERRORN:
        words[at] = value & 0x7ff;
        this.#effects.commandQueueKick();
        return;
      case R.STRTAB_BASE:
      case R.STRTAB_BASE + 4:
      case R.STRTAB_BASE_CFG:
        if (this.#closed(SMMUEN) || this.#features.tablesPreset) return;
        words[at] = value & strtabMask(offset);
        this.#effects.streamTableMoved();
        return;
      case R.CMDQ_BASE:
      case R.CMDQ_BASE + 4:
        if (!this.#closed(CMDQEN) && !this.#features.queuesPreset)
          words[at] = value & baseMask(offset);
        return;
      case R.EVENTQ_BASE:
      case R.EVENTQ_BASE + 4:
        if (!this.#closed(EVENTQEN) && !this.#features.queuesPreset)
          words[at] = value & baseMask(offset);
        return;
      case R.PRIQ_BASE:
      case R.PRIQ_BASE + 4:
        if (this.#features.pri && !this.#closed(PRIQEN) && !this.#features.queuesPreset)
          words[at] = value & baseMask(offset);
        return;
      case R.CMDQ_PROD:
        words[at] = value & INDEX_BITS;
        this.#effects.commandQueueKick();
        return;
      case R.CMDQ_CONS:
        if (!this.#closed(CMDQEN)) words[at] = value & (INDEX_BITS | CONS_ERR);
        return;
      case R.EVENTQ_PROD & 0xfff:
        if (!this.#closed(EVENTQEN)) words[at] = value & (INDEX_BITS | OVERFLOW);
        return;
      case R.EVENTQ_CONS & 0xfff:
        words[at] = value & (INDEX_BITS | OVERFLOW);
        return;
      case R.PRIQ_PROD & 0xfff:
        if (this.#features.pri && !this.#closed(PRIQEN))
          words[at] = value & (INDEX_BITS | OVERFLOW);
        return;
      case R.PRIQ_CONS & 0xfff:
        if (this.#features.pri) words[at] = value & (INDEX_BITS | OVERFLOW);
        return;
      default:
        this.#writeInterruptConfig(offset, value);
    }
  }

  #writeInterruptConfig(offset: number, value: number): void {
    const enable = interruptEnableOf(offset);
    if (enable === 0 || !this.#features.msi || (enable === PRIQ_IRQEN && !this.#features.pri))
      return;
    const { words } = this;
    const busy =
      ((words[R.IRQ_CTRL / 4] as number) | (words[R.IRQ_CTRLACK / 4] as number)) & enable;
    if (busy === 0) words[offset / 4] = value & interruptConfigMask(offset);
  }

  /** True while a field of CR0 or its acknowledgement is set, or in transition: the guard of 6.3. */
  #closed(fields: number): boolean {
    return (
      (((this.words[R.CR0 / 4] as number) | (this.words[R.CR0ACK / 4] as number)) & fields) !== 0
    );
  }
}

/** Storage index of an offset in either page; -1 where nothing is stored. */
function place(offset: number): number {
  if (offset < STORED) return offset / 4;
  const inPage1 = offset - PAGE;
  // Page 1 may be RAZ/WI but for the queue indices (6.2).
  if (inPage1 === 0xa8 || inPage1 === 0xac || inPage1 === 0xc8 || inPage1 === 0xcc)
    return inPage1 / 4;
  return -1;
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
  return offset === R.STRTAB_BASE + 4 ? 0x40ff_ffff : 0x0003_07ff;
}

function baseMask(offset: number): number {
  return offset % 8 === 0 ? 0xffff_ffff : 0x40ff_ffff;
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
      return 0x8000_003f;
    default:
      return 0xffff_ffff;
  }
}
