import { REGISTER } from '@iommukit/arm-arch';
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

/** Says by which rule a read whose value differs does not count, and remembers what software wrote. */
export class ReadRules {
  readonly #features: Features;
  readonly #written: Map<string, Lanes> = new Map();
  readonly #reserved: Map<string, Lanes> = new Map();

  constructor(features: Features) {
    this.#features = features;
  }

  wrote({ name, lo, hi }: WriteStep): void {
    this.#written.set(name, { lo, hi });
  }

  /** The rule that excepts a read of `got` where `step` records another value: `undefined` when none does. */
  exception(step: ReadStep, got: Lanes): 'item-11' | 'res0' | undefined {
    const { name } = step;
    const last = this.#written.get(name);
    switch (name) {
      case 'CR0':
      case 'CMDQ_CONS':
        if (same(step, last)) return 'item-11';
        break;
      case 'CR0ACK': {
        const cr0 = this.#written.get('CR0');
        if (cr0 !== undefined && step.lo === (cr0.lo & QEMU_CR0ACK) >>> 0)
          return this.#definedEqual(step, got) ? 'item-11' : undefined;
        break;
      }
      case 'IRQ_CTRLACK':
        if (same(step, this.#written.get('IRQ_CTRL')))
          return this.#definedEqual(step, got) ? 'item-11' : undefined;
        break;
      default:
    }
    if (last === undefined || !this.#definedEqual(step, got)) return undefined;
    const mask = this.#reservedOf(name);
    const asWritten =
      ((step.lo ^ last.lo) & mask.lo & ~got.lo) === 0 &&
      ((step.hi ^ last.hi) & mask.hi & ~got.hi) === 0;
    return asWritten ? 'res0' : undefined;
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

function same(step: ReadStep, written: Lanes | undefined): boolean {
  return written !== undefined && step.lo === written.lo && step.hi === written.hi;
}
