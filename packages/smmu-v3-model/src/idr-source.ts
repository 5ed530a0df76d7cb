/*
 * The three ways in which ID registers are given: words by name, words by register offset as a dump has them, or a preset
 * (IHI 0070 6.3.1-6.3.8).
 * Not modelled: nothing of those sections is decided here; see `feature-rules.ts`.
 */
import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { FEATURE_PRESETS, type FeaturePreset } from './feature-presets.ts';
import { encodeFeatures, type IdrWords } from './features.ts';

/** ID registers: raw words, by name or by register offset, or the name of a preset. */
export type IdrSource = IdrWords | ReadonlyMap<number, number> | FeaturePreset;

/** The words by name. */
export function idrWordsOf(source: IdrSource): IdrWords {
  if (typeof source === 'string') return encodeFeatures(FEATURE_PRESETS[source]);
  if (!(source instanceof Map)) return source as IdrWords;
  const word = (offset: number): number => source.get(offset) ?? 0;
  return {
    IDR0: word(R.IDR0),
    IDR1: word(R.IDR1),
    IDR2: word(R.IDR2),
    IDR3: word(R.IDR3),
    IDR4: word(R.IDR4),
    IDR5: word(R.IDR5),
    IIDR: word(R.IIDR),
    AIDR: word(R.AIDR),
  };
}
