import { CD, STE } from '@iommukit/arm-arch';
import { IommuError, type U64 } from '@iommukit/bits';
import type { DmaResult, SmmuV3Model } from '@iommukit/smmu-v3-model';
import type { DumpImage } from './dump-image.ts';
import { accessOf, modelOfDump, outcomeName, PROBING } from './dump-model.ts';
import { type EntryView, lanesOf, viewOf } from './field-view.ts';
import { contextsOf, readStream, type StreamConfig, type StreamMode } from './stream-config.ts';
import { streamEntries } from './stream-entries.ts';
import { stage1Shape } from './table-shape.ts';

/**
 * What the model makes of an entry when a transaction uses it: `legal`, `illegal` with the event, or `unknown` with the reason
 * (memory that the dump lacks, or a feature that the model refuses).
 * @example const bad = (verdict: EntryVerdict) => verdict.verdict === 'illegal';
 */
export interface EntryVerdict {
  readonly verdict: 'legal' | 'illegal' | 'unknown';
  readonly because: string;
}

/**
 * One stream table entry.
 * @example const abort = (ste: SteReport) => ste.mode === 'abort';
 */
export interface SteReport extends EntryVerdict {
  readonly streamId: number;
  readonly mode: StreamMode;
  readonly entry: EntryView;
}

/**
 * One context descriptor.
 * @example const asid = (cd: CdReport) => cd.asid;
 */
export interface CdReport extends EntryVerdict {
  readonly streamId: number;
  readonly substreamId: number;
  readonly valid: boolean;
  readonly asid: number;
  readonly entry: EntryView;
}

/** Opens the model once, and keeps why it refuses where it does. */
class Prober {
  readonly #image: DumpImage;
  #model: SmmuV3Model | undefined;
  #refusal: string | undefined;

  constructor(image: DumpImage) {
    this.#image = image;
    this.#try(() => {
      this.#model = modelOfDump(image, { registers: PROBING });
    });
  }

  /** A read by the stream, or why the model does not answer. */
  read(streamId: number, address: U64, substreamId?: number): DmaResult | string {
    const model = this.#model;
    if (model === undefined) return this.#refusal ?? 'the model does not model this SMMU';
    const options = substreamId === undefined ? {} : { substreamId };
    let result: DmaResult | undefined;
    const refusal = this.#try(() => {
      result = model.translate(accessOf(streamId, address, options));
    });
    this.#image.memory.restore();
    return result ?? refusal ?? 'no answer';
  }

  #try(work: () => void): string | undefined {
    try {
      work();
      return undefined;
    } catch (error) {
      if (!(error instanceof IommuError)) throw error;
      this.#refusal = error.message;
      return error.message;
    }
  }
}

function verdictOf(
  answer: DmaResult | string,
  illegal: ReadonlySet<string>,
  absent: ReadonlySet<string>,
): EntryVerdict {
  if (typeof answer === 'string') return { verdict: 'unknown', because: answer };
  const because = outcomeName(answer);
  if (illegal.has(because)) return { verdict: 'illegal', because };
  return { verdict: absent.has(because) ? 'unknown' : 'legal', because };
}

const STE_ILLEGAL: ReadonlySet<string> = new Set(['C_BAD_STE', 'C_BAD_STREAMID']);
const STE_ABSENT: ReadonlySet<string> = new Set(['F_STE_FETCH']);
const CD_ILLEGAL: ReadonlySet<string> = new Set([
  'C_BAD_CD',
  'C_BAD_STE',
  'C_BAD_SUBSTREAMID',
  'F_STREAM_DISABLED',
]);
const CD_ABSENT: ReadonlySet<string> = new Set(['F_CD_FETCH', 'F_STE_FETCH', 'abort']);

/**
 * The valid stream table entries of a dump, or the one of a stream, valid or not.
 * @example steReports(openDump('linux-6.12-strict-up')).filter(({ mode }) => mode === 'stage1').length
 */
export function steReports(image: DumpImage, streamId?: number): SteReport[] {
  const prober = new Prober(image);
  const out: SteReport[] = [];
  for (const { streamId: sid, at } of streamEntries(image)) {
    if (streamId !== undefined && sid !== streamId) continue;
    const stream = readStream(image, sid, at);
    if (streamId === undefined && stream.mode === 'invalid') continue;
    const answer = prober.read(sid, { lo: 0, hi: 0 });
    out.push({
      streamId: sid,
      mode: stream.mode,
      entry: viewOf(STE, stream.words, at),
      ...verdictOf(answer, STE_ILLEGAL, STE_ABSENT),
    });
  }
  return out;
}

/**
 * The context descriptors of a dump, of one stream, or of one SubstreamID: valid ones, and SubstreamID 0 in any case.
 * @example cdReports(openDump('linux-6.12-strict-up'), 8)[0]?.asid
 */
export function cdReports(image: DumpImage, streamId?: number, substreamId?: number): CdReport[] {
  const prober = new Prober(image);
  const out: CdReport[] = [];
  for (const { streamId: sid, at } of streamEntries(image)) {
    if (streamId !== undefined && sid !== streamId) continue;
    const stream = readStream(image, sid, at);
    for (const context of contextsOf(image, stream)) {
      if (substreamId !== undefined && context.ssid !== substreamId) continue;
      const { ssid, words } = context;
      const answer = prober.read(sid, inHalf(words), sentWith(stream, ssid));
      out.push({
        streamId: sid,
        substreamId: ssid,
        valid: CD.get.V(words) === 1,
        asid: CD.get.ASID(words),
        entry: viewOf(CD, words, context.at),
        ...verdictOf(answer, CD_ILLEGAL, CD_ABSENT),
      });
    }
  }
  return out;
}

/** SubstreamID 0 is reached without one, unless S1DSS gives such transactions another meaning. */
function sentWith(stream: StreamConfig, ssid: number): number | undefined {
  const plain = stream.cdMax === 0 || STE.get.S1DSS(stream.words) === 2;
  return ssid === 0 && plain ? undefined : ssid;
}

/** An address that the CD translates, so that a disabled half is not what is probed. */
function inHalf(words: Uint32Array): U64 {
  const lower = stage1Shape(words, 'lower');
  const upper = stage1Shape(words, 'upper');
  return lanesOf(lower === undefined && upper !== undefined ? upper.base : 0);
}
