import type { StaleUse } from '@iommukit/smmu-v3-model';
import type { ScenarioRig } from './scenario-rig.ts';

/**
 * Why a stale entry can still be used. `pending`: software holds its invalidation back, in a batch or a flush queue; `race`: the command is
 * issued and its SYNC is not complete; `missing`: nothing that is outstanding covers it.
 */
export type StaleClass = 'pending' | 'race' | 'missing';

/** Stale uses by class, told apart when they happen: what is held back then, a later flush makes good. */
export class OutstandingUses {
  readonly counts: Record<StaleClass, number> = { pending: 0, race: 0, missing: 0 };
  /** Frames that went to somebody else while the device still reached them. */
  reused = 0;
  readonly #rig: ScenarioRig;
  readonly #deferred: (iova: number) => boolean;
  #seen = 0;

  /** `deferred`: whether an invalidation of this page is held back at the moment. */
  constructor(rig: ScenarioRig, deferred: (iova: number) => boolean = () => false) {
    this.#rig = rig;
    this.#deferred = deferred;
  }

  /** The device reads a page; the entry that it uses is put into its class. */
  read(iova: number): number {
    const got = this.#rig.access(iova);
    this.note();
    return got;
  }

  /** Classes of what was reported since the last time. */
  note(): void {
    const { staleUses } = this.#rig.machine.model;
    for (; this.#seen < staleUses.length; this.#seen++) {
      const use = staleUses[this.#seen];
      if (use !== undefined) this.counts[this.#classOf(use)]++;
    }
  }

  /** A frame gets a new owner: an error for each IOVA through which the device reaches it that no mapping names. */
  reuse(frame: number, iovas: Iterable<number>): void {
    for (const iova of iovas)
      if (this.read(iova) === frame && this.#rig.mirror.get(iova) !== frame) this.reused++;
  }

  #classOf(use: StaleUse): StaleClass {
    // What the model sees in the queue, or consumed and without its SYNC.
    if (use.class !== 'missing') return 'race';
    return use.iova !== undefined && this.#deferred(use.iova) ? 'pending' : 'missing';
  }
}
