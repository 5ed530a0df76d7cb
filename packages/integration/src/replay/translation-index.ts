import type { QemuDigest, QemuTranslation, QemuUntranslated } from '@iommukit/captures';

const PAGE = 4096;
/** Page frames of a 48-bit space. */
const PFNS = 2 ** 36;

/** Key of one page of one ASID; exact. */
export function pageKey(asid: number, pfn: number): number {
  return asid * PFNS + pfn;
}

/** How much of QEMU's log is compared. */
export interface TranslationWindow {
  readonly limit: number;
  readonly lastLine: number;
  /** Value of CMDQ_PROD. */
  readonly lastProd: number;
  /** Whether an invalidation of a table walk (leaf = 0) stands alone for its unmap, or the leaves of the same unmap follow (6.12 on). */
  readonly walks: 'alone' | 'before-leaves';
}

/** QEMU's log, handed out as a replay comes to the places where it belongs. */
export interface TranslationFeed {
  /** Entries that nothing has claimed. */
  readonly left: number;
  /** ASIDs with translations that wait for a flush. */
  readonly waiting: readonly number[];
  /** Notes that [iova, iova + size) was mapped. */
  mapped(asid: number, iova: number, size: number): void;
  /** Hands the translations of the mappings of [iova, iova + size) to `run`, before they are cleared; some may wait for a flush. */
  closing(asid: number, iova: number, size: number, run: (op: QemuTranslation) => void): void;
  /** Hands out what waited for a flush of the whole ASID, before that is issued. */
  flushing(asid: number, run: (op: QemuTranslation) => void): void;
  /** Notes that a flush of the whole ASID is issued. */
  flushed(asid: number): void;
  /** Hands the accesses that bypassed or were aborted to `run`, once `issued` commands stand in the queue. */
  untranslated(issued: number, run: (op: QemuUntranslated) => void): void;
  /** Hands the translations of all mappings that are still live to `run`. */
  closeAll(run: (op: QemuTranslation) => void): void;
}

/** Accesses that were not translated (`By`, `Ab`), with the value of CMDQ_PROD when they were made. */
export class Untranslated {
  readonly #list: { readonly op: QemuUntranslated; readonly prod: number }[] = [];
  #next = 0;

  get left(): number {
    return this.#list.length - this.#next;
  }

  add(op: QemuUntranslated, prod: number): void {
    this.#list.push({ op, prod });
  }

  take(issued: number, run: (op: QemuUntranslated) => void): void {
    for (;;) {
      const next = this.#list[this.#next];
      if (next === undefined || next.prod > issued) return;
      this.#next++;
      run(next.op);
    }
  }
}

/**
 * QEMU's translations, by the mapping that each belongs to: a translation after j invalidations of its ASID and page belongs to the
 * (j+1)-th mapping of that page. Where an unmapped table is invalidated as a walk and again as leaves, only the second counts. The window ends after `limit` translations, after `lastLine`, or at the first command beyond `lastProd`.
 */
export class TranslationIndex implements TranslationFeed {
  /** Translations in the window. */
  readonly total: number;
  /** A strict unmap returns after its invalidation. */
  readonly waiting: readonly number[] = [];
  readonly #untranslated = new Untranslated();
  /** By page, then by ordinal of the mapping from 0. */
  readonly #byPage = new Map<number, (QemuTranslation[] | undefined)[]>();
  /** Mappings made so far, by page. */
  readonly #mapped = new Map<number, number>();
  /** The live mapping's translations that were not run yet, by page. */
  readonly #open = new Map<number, QemuTranslation[]>();
  #left: number;

  constructor(
    digest: QemuDigest,
    asidOfStream: ReadonlyMap<number, number>,
    window: TranslationWindow,
  ) {
    const invalidated = new Map<number, number>();
    let total = 0;
    let prod = 0;
    for (const op of digest.ops) {
      if (op.line > window.lastLine) break;
      if (op.op === 'W' && op.offset === 0x98) {
        prod = op.lo;
        if (prod > window.lastProd) break;
      } else if (op.op === 'I') {
        if (!op.leaf && window.walks === 'before-leaves') continue;
        const first = op.addr / PAGE;
        for (let i = 0; i < op.numPages; i++) {
          const key = pageKey(op.asid, first + i);
          invalidated.set(key, (invalidated.get(key) ?? 0) + 1);
        }
      } else if (op.op === 'T') {
        if (total === window.limit) break;
        total++;
        const asid = asidOfStream.get(op.sid) ?? 0;
        this.#add(pageKey(asid, Math.floor(op.iova / PAGE)), invalidated, op);
      } else if (op.op === 'By' || op.op === 'Ab') this.#untranslated.add(op, prod);
    }
    this.total = total;
    this.#left = total;
  }

  get left(): number {
    return this.#left + this.#untranslated.left;
  }

  mapped(asid: number, iova: number, size: number): void {
    for (let at = 0; at < size; at += PAGE) {
      const key = pageKey(asid, (iova + at) / PAGE);
      const ordinal = this.#mapped.get(key) ?? 0;
      this.#mapped.set(key, ordinal + 1);
      const translations = this.#byPage.get(key)?.[ordinal];
      if (translations !== undefined) this.#open.set(key, translations);
    }
  }

  closing(asid: number, iova: number, size: number, run: (op: QemuTranslation) => void): void {
    for (let at = 0; at < size; at += PAGE) {
      const key = pageKey(asid, (iova + at) / PAGE);
      const translations = this.#open.get(key);
      if (translations === undefined) continue;
      this.#open.delete(key);
      this.#run(translations, run);
    }
  }

  flushing(): void {}

  flushed(): void {}

  untranslated(issued: number, run: (op: QemuUntranslated) => void): void {
    this.#untranslated.take(issued, run);
  }

  closeAll(run: (op: QemuTranslation) => void): void {
    for (const translations of this.#open.values()) this.#run(translations, run);
    this.#open.clear();
  }

  #run(translations: readonly QemuTranslation[], run: (op: QemuTranslation) => void): void {
    for (const op of translations) run(op);
    this.#left -= translations.length;
  }

  #add(key: number, invalidated: ReadonlyMap<number, number>, op: QemuTranslation): void {
    let ordinals = this.#byPage.get(key);
    if (ordinals === undefined) {
      ordinals = [];
      this.#byPage.set(key, ordinals);
    }
    const ordinal = invalidated.get(key) ?? 0;
    const list = ordinals[ordinal];
    if (list === undefined) ordinals[ordinal] = [op];
    else list.push(op);
  }
}
