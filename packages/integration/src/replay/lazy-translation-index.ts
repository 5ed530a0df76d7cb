import type { QemuDigest, QemuTranslation, QemuUntranslated } from '@iommukit/captures';
import {
  pageKey,
  type TranslationFeed,
  type TranslationWindow,
  Untranslated,
} from './translation-index.ts';

const PAGE = 4096;
/** An unmap of this much may take a whole table out, whose invalidation is not put off. */
const TABLE_SPAN = 0x20_0000;

interface Timed {
  readonly op: QemuTranslation;
  /** Flushes of the ASID that QEMU had consumed before. */
  readonly flushes: number;
}

/**
 * QEMU's translations of a kernel in lazy mode, by the mapping that each belongs to. Between two mappings of a page its ASID was flushed, and that flush began after the unmap
 * of the first: a translation after n flushes belongs to the first mapping whose unmap came after n or more. Those after the last flush before the unmap may be
 * uses of what was cached, up to the next flush: the first of a mapping is run before the unmap, the others as late as the order allows.
 */
export class LazyTranslationIndex implements TranslationFeed {
  readonly #untranslated = new Untranslated();
  /** By page, in order of the log. */
  readonly #byPage = new Map<number, Timed[]>();
  readonly #live = new Set<number>();
  /** Flushes of each ASID so far. */
  readonly #flushes = new Map<number, number>();
  /** Translations of unmapped pages whose ASID is not flushed yet. */
  readonly #waiting = new Map<number, QemuTranslation[]>();
  #translations = 0;

  /** `flushed`: ASIDs of the TLBI_NH_ASID commands in order of the queue. */
  constructor(
    digest: QemuDigest,
    asidOfStream: ReadonlyMap<number, number>,
    window: TranslationWindow,
    flushed: readonly number[],
  ) {
    const flushes = new Map<number, number>();
    let next = 0;
    let prod = 0;
    for (const op of digest.ops) {
      if (op.line > window.lastLine) break;
      if (op.op === 'W' && op.offset === 0x98) {
        prod = op.lo;
        if (prod > window.lastProd) break;
      } else if (op.op === 'C' && op.opcode === 'TLBI_NH_ASID') {
        const asid = flushed[next++] ?? -1;
        flushes.set(asid, (flushes.get(asid) ?? 0) + 1);
      } else if (op.op === 'T') {
        if (this.#translations === window.limit) break;
        this.#translations++;
        const asid = asidOfStream.get(op.sid) ?? 0;
        const key = pageKey(asid, Math.floor(op.iova / PAGE));
        const list = this.#byPage.get(key);
        const timed = { op, flushes: flushes.get(asid) ?? 0 };
        if (list === undefined) this.#byPage.set(key, [timed]);
        else list.push(timed);
      } else if (op.op === 'By' || op.op === 'Ab') this.#untranslated.add(op, prod);
    }
  }

  get left(): number {
    return this.#translations + this.#untranslated.left;
  }

  mapped(asid: number, iova: number, size: number): void {
    for (let at = 0; at < size; at += PAGE) this.#live.add(pageKey(asid, (iova + at) / PAGE));
  }

  closing(asid: number, iova: number, size: number, run: (op: QemuTranslation) => void): void {
    const now = this.#flushes.get(asid) ?? 0;
    for (let at = 0; at < size; at += PAGE) {
      const key = pageKey(asid, (iova + at) / PAGE);
      this.#live.delete(key);
      const list = this.#byPage.get(key);
      if (list === undefined) continue;
      const after = list.findIndex(({ flushes }) => flushes > now);
      const mine = list.splice(0, after < 0 ? list.length : after);
      for (const [i, { op, flushes }] of mine.entries())
        if (i > 0 && flushes === now && size < TABLE_SPAN) this.#wait(asid, op);
        else this.#run(op, run);
    }
  }

  flushing(asid: number, run: (op: QemuTranslation) => void): void {
    const waiting = this.#waiting.get(asid);
    if (waiting === undefined) return;
    this.#waiting.delete(asid);
    for (const op of waiting) this.#run(op, run);
  }

  flushed(asid: number): void {
    this.#flushes.set(asid, (this.#flushes.get(asid) ?? 0) + 1);
  }

  untranslated(issued: number, run: (op: QemuUntranslated) => void): void {
    this.#untranslated.take(issued, run);
  }

  closeAll(run: (op: QemuTranslation) => void): void {
    for (const key of this.#live)
      for (const { op } of this.#byPage.get(key) ?? []) this.#run(op, run);
    this.#live.clear();
  }

  /** ASIDs with translations that wait for a flush. */
  get waiting(): readonly number[] {
    return [...this.#waiting.keys()];
  }

  #wait(asid: number, op: QemuTranslation): void {
    const waiting = this.#waiting.get(asid);
    if (waiting === undefined) this.#waiting.set(asid, [op]);
    else waiting.push(op);
  }

  #run(op: QemuTranslation, run: (op: QemuTranslation) => void): void {
    this.#translations--;
    run(op);
  }
}
