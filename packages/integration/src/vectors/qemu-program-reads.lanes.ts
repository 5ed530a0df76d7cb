import { GBPA, REGISTER } from '@iommukit/arm-arch';
import type { Features } from '@iommukit/smmu-v3-model';
import type { ReadStep, WriteStep } from './qemu-program-step.ts';

// What a register read of a program proves. Bits that the architecture defines are compared. A reserved bit of a writable register may read as
// zero or as it was written (Arm's RES0); what the README of the data excepts besides is named here, by rule.

/** Two lanes. */
interface Lanes {
  readonly lo: number;
  readonly hi: number;
}

/** Fields that exist by name and are reserved without the feature. */
const CONDITIONAL: Readonly<Record<string, (features: Features) => boolean>> = {
  PRIQEN: ({ pri }) => pri,
  PRIQ_IRQEN: ({ pri }) => pri,
  PRIQ_ABT_ERR: ({ pri }) => pri,
  MSI_PRIQ_ABT_ERR: ({ pri, msi }) => pri && msi,
  MSI_CMDQ_ABT_ERR: ({ msi }) => msi,
  MSI_EVENTQ_ABT_ERR: ({ msi }) => msi,
  MSI_GERROR_ABT_ERR: ({ msi }) => msi,
  ATSCHK: ({ ats }) => ats,
  VMW: ({ vmw }) => vmw,
  DPT_WALK_EN: () => false,
  CMDQP_ERR: () => false,
  DPT_ERR: () => false,
  E2H: ({ hyp }) => hyp,
  REC_CFG_ATS: ({ atsRecErr }) => atsRecErr,
};

/** The bits of CR0 that QEMU's CR0ACK follows (qemu-oracle.md section 2, item 11). */
const QEMU_CR0ACK = 0x5df;

const GBPA_UPDATE = GBPA.mask('Update')[0] as number;

/** Bits that are reserved on an SMMU with these features. */
function reserved(name: string, features: Features): Lanes {
  if (/_IRQ_CFG\d$/.test(name) && !features.msi) return { lo: 0xffff_ffff, hi: 0xffff_ffff };
  const layout = REGISTER[name as keyof typeof REGISTER];
  let [lo, hi] = [0, 0];
  for (const [field, row] of Object.entries(layout.rows)) {
    if (row.kind !== 'res0' && (CONDITIONAL[field]?.(features) ?? true)) continue;
    for (let bit = row.lo; bit <= row.hi; bit++)
      if (bit < 32) lo |= 1 << bit;
      else hi |= 1 << (bit - 32);
  }
  return { lo: lo >>> 0, hi: hi >>> 0 };
}

/** Says by which rule a read that differs, or reserved bits of it, do not count; remembers what software wrote. */
export class ReadRules {
  readonly #features: Features;
  readonly #written: Map<string, Lanes> = new Map();
  readonly #reserved: Map<string, Lanes> = new Map();

  constructor(features: Features) {
    this.#features = features;
  }

  wrote({ name, lo, hi }: WriteStep): void {
    // Without Update the write is ignored (6.3.14).
    if (name === 'GBPA' && (lo & GBPA_UPDATE) === 0) return;
    this.#written.set(name, { lo, hi });
  }

  /** The rule that excepts the whole of a read, whatever we answer: what software wrote came back. */
  excepted(step: ReadStep): 'item-11' | undefined {
    const { name } = step;
    if (name !== 'CR0' && name !== 'CMDQ_CONS') return undefined;
    return same(step, this.#written.get(name)) ? 'item-11' : undefined;
  }

  /** The rule that excepts reserved bits, where `got` and what `step` records differ in them alone. */
  reservedBits(step: ReadStep, got: Lanes): 'item-11' | 'res0' | undefined {
    const { name } = step;
    if (!this.#definedEqual(step, got)) return undefined;
    const cr0 = this.#written.get('CR0');
    if (name === 'CR0ACK') return step.lo === mirrored(cr0) ? 'item-11' : undefined;
    if (name === 'IRQ_CTRLACK')
      return same(step, this.#written.get('IRQ_CTRL')) ? 'item-11' : undefined;
    const last = this.#written.get(name);
    if (last === undefined) return undefined;
    const mask = this.#reservedOf(name);
    // Each reserved bit reads as zero or as it was written.
    const open = (step.lo & mask.lo & ~last.lo) === 0 && (step.hi & mask.hi & ~last.hi) === 0;
    return open ? 'res0' : undefined;
  }

  #definedEqual(step: ReadStep, got: Lanes): boolean {
    const mask = this.#reservedOf(step.name);
    return ((step.lo ^ got.lo) & ~mask.lo) === 0 && ((step.hi ^ got.hi) & ~mask.hi) === 0;
  }

  #reservedOf(name: string): Lanes {
    const known = this.#reserved.get(name);
    if (known !== undefined) return known;
    const mask = reserved(name, this.#features);
    this.#reserved.set(name, mask);
    return mask;
  }
}

/** QEMU's CR0ACK after CR0 was written. */
function mirrored(cr0: Lanes | undefined): number {
  return ((cr0?.lo ?? 0) & QEMU_CR0ACK) >>> 0;
}

function same(step: ReadStep, written: Lanes | undefined): boolean {
  return written !== undefined && step.lo === written.lo && step.hi === written.hi;
}
