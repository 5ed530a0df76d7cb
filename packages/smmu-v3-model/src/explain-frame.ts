/*
 * Who is at work while a translation is explained: lookups of an STE or CD, walks, and stage 2 for the address of a structure, each
 * inside the one that needed it.
 * Not modelled: nothing is translated here; frames only name what the translation does (IHI 0070 3.4).
 */
import type { FetchStep } from './explanation.ts';
import { STRUCTURE_WRITE } from './permission.lanes.ts';
import type { CachedStream } from './stream-entry.ts';
import type { WalkJob } from './walk.lanes.ts';

/** Who is at work; the innermost one reads. */
export type Frame =
  | { readonly kind: 'stream'; readonly lanes: number[]; readonly at: number[]; l1: boolean }
  | {
      readonly kind: 'context';
      readonly stream: CachedStream;
      lanes: number[];
      start: number;
      /** The L1CD is behind it. */
      l1: boolean;
    }
  | { readonly kind: 'structure'; readonly purpose: string; readonly need: number }
  | { readonly kind: 'walk'; readonly job: WalkJob; level: number };

/** A walk, and the level that it is at. */
export type WalkFrame = Extract<Frame, { kind: 'walk' }>;

/** The frames, outermost first. */
export class FrameStack {
  readonly #frames: Frame[] = [];

  get innermost(): Frame | undefined {
    return this.#frames.at(-1);
  }

  /** The structure whose address is being taken through stage 2. */
  get structure(): Extract<Frame, { kind: 'structure' }> | undefined {
    return this.#frames.findLast((frame) => frame.kind === 'structure');
  }

  /** Does `work` as the innermost frame. */
  within<T>(frame: Frame, work: () => T): T {
    this.#frames.push(frame);
    try {
      return work();
    } finally {
      this.#frames.pop();
    }
  }

  /** What the innermost frame wants of stage 2, which is asked for `need`. */
  purposeOf(need: number): string {
    const frame = this.innermost;
    if (frame?.kind === 'context')
      return nextOf(frame) === 'L1CD' ? 'the level 1 context descriptor' : 'the CD';
    if (frame?.kind !== 'walk') return 'the access';
    if (need === STRUCTURE_WRITE)
      return `the update of the stage 1 level ${frame.level - 1} descriptor`;
    return `the stage 1 level ${frame.level} descriptor`;
  }

  /** Where in its tables a walk is, and of stage 2 what for. */
  placeOf({ job, level }: WalkFrame): Pick<FetchStep, 'stage' | 'level' | 'for'> {
    const { stage } = job.regime;
    if (stage === 1) return { stage, level };
    return { stage, level, for: this.structure?.purpose ?? 'the access' };
  }
}

/** The structure that a lookup of a CD reads next. */
export function nextOf({ stream, l1 }: { stream: CachedStream; l1: boolean }): 'L1CD' | 'CD' {
  return stream.cdSplit > 0 && !l1 ? 'L1CD' : 'CD';
}
