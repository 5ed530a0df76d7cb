/*
 * The end of an explanation: what became of the access, and its event record field by field (IHI 0070 7.3).
 * Not modelled: records of ATS, PRI and unsupported transactions (7.3.2, 7.3.6, 7.3.8, 7.3.19), which no explanation ends with.
 */
import { EVENT_CODE, EVENTS } from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import { isEnabled } from './control-register.ts';
import type { DmaResult } from './dma-access.ts';
import { encodeEvent, type SmmuEvent } from './event.ts';
import { doublewords, fieldsOf } from './explain-entry.ts';
import type { EventField, ExplainedField, ResultStep } from './explanation.ts';

const ABORT_SECTION = {
  'gbpa-abort': 'IHI 0070 6.3.14',
  'address-above-oas': 'IHI 0070 3.4',
  'ste-abort': 'IHI 0070 5.2',
  'bad-stream-id-unrecorded': 'IHI 0070 7.3.3',
} as const;

/** What the values of a field mean, where the layout's own words do not say it. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  SSV: ['the transaction has no SubstreamID', 'the transaction has a SubstreamID'],
  PnU: ['unprivileged', 'privileged'],
  InD: ['data', 'instruction'],
  RnW: ['a write', 'a read'],
  S2: ['stage 1 faulted, or no stage', 'stage 2 faulted'],
  STALL: ['the transaction was terminated', 'the transaction waits for CMD_RESUME'],
  CLASS: [
    'on the way to a CD',
    'on the way to a stage 1 table',
    'on the way of the transaction itself',
  ],
  TTRnW: ['the descriptor was to be written', 'the descriptor was to be read'],
  NSIPA: ['not used: there is one IPA space', 'the IPA is Non-secure'],
  GPCF: ['no granule protection check failed', 'a granule protection check failed'],
};

/** The last step. */
export function resultStep(result: DmaResult, words: Uint32Array): ResultStep {
  const base = { kind: 'result', what: 'result', result } as const;
  switch (result.outcome) {
    case 'ok': {
      const says = `ok, physical address ${hex(result.paddr)}`;
      return { ...base, section: 'DDI 0487 D8.3', says };
    }
    case 'bypass': {
      const on = isEnabled(words);
      const says = `bypass, physical address ${hex(result.paddr)}`;
      return { ...base, section: on ? 'IHI 0070 5.2' : 'IHI 0070 6.3.14', says };
    }
    case 'abort': {
      const says = `abort without an event (${result.reason})`;
      return { ...base, section: ABORT_SECTION[result.reason], says };
    }
    default: {
      const { event, record } = result;
      const says = `${event.event}, ${endText(result)}, record ${record}`;
      return { ...base, says, ...recordOf(event) };
    }
  }
}

function endText(result: Extract<DmaResult, { outcome: 'fault' | 'stall' }>): string {
  if (result.outcome === 'stall') return 'the transaction stalls';
  return result.response === 'abort'
    ? 'the transaction is aborted'
    : 'reads give zero and writes are ignored';
}

function recordOf(event: SmmuEvent): Pick<ResultStep, 'section' | 'words' | 'fields'> {
  const layout = EVENTS.get(EVENT_CODE[event.event]);
  const record = new Uint32Array(8);
  encodeEvent(event, record);
  const words = doublewords(record);
  if (layout === undefined) return { section: 'IHI 0070 7.3', words };
  const fields = fieldsOf(layout, record).map(
    (field): EventField => ({ ...field, says: fieldSays(field, layout.rows[field.name]?.is) }),
  );
  return { section: layout.info.spec, words, fields };
}

function fieldSays({ name, value }: ExplainedField, meaning = ''): string {
  return VALUES[name]?.[value.lo] ?? meaning;
}
