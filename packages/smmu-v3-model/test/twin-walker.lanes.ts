/*
 * A slow second walker in bigint, written from the procedure of IHI 0070 3.4, 5.2-5.4, 7.3 and DDI 0487 D8 alone: what an
 * untranslated transaction gives, for the Non-secure interface and VMSAv8-64 tables, without caches. It shares no line with the
 * model. Every choice that the architecture leaves open is a field of `TwinChoices`.
 * Does not model: ATS, PRI, VMS, permission indirection.
 */

import {
  gbpaOverride,
  steOverride,
  TWIN_INCOMING,
  twinConsistent,
  twinReplace,
} from './twin-walker-attributes.lanes.ts';
import { badCd, cdView, locateCd } from './twin-walker-cd.lanes.ts';
import {
  bits,
  configFault,
  type FaultModel,
  TWIN_CHOICES,
  type TwinAccess,
  type TwinChoices,
  type TwinMemory,
  type TwinRegisters,
  type TwinResult,
  type TwinRun,
  TwinStop,
  translationFault,
  twinFeatures,
} from './twin-walker-run.lanes.ts';
import { badSte, findSte } from './twin-walker-ste.lanes.ts';
import { translateStage1, translateStage2 } from './twin-walker-tables.lanes.ts';

const BYPASS: FaultModel = { recorded: true, response: 'abort' };

function passed(
  run: TwinRun,
  pa: bigint,
  route: 'off' | 'bypass' | 's1' | 's2' | 'nested',
): TwinResult {
  return { kind: 'ok', pa, route, attributes: twinConsistent(run.attributes) };
}

function steps(run: TwinRun): TwinResult {
  const { access, f, regs } = run;
  // 3.4 (2): translation is off.
  if (bits(regs.CR0, 0, 0) === 0) {
    if (bits(regs.GBPA, 20, 20) === 1) return { kind: 'abort', why: 'GBPA.ABORT' };
    if (access.address >> BigInt(f.oas) !== 0n) return { kind: 'abort', why: 'beyond OAS' };
    if (f.typesOvr) run.attributes = twinReplace(run.attributes, gbpaOverride(regs.GBPA));
    return passed(run, access.address, 'off');
  }
  // 3.4 (3): configuration.
  const ste = findSte(run);
  if (!ste.valid) configFault(run, 'C_BAD_STE');
  if (ste.config < 4) return { kind: 'abort', why: 'Config' };
  if (badSte(run, ste)) configFault(run, 'C_BAD_STE');
  const stage1 = (ste.config & 1) === 1;
  const stage2 = (ste.config & 2) === 2;
  // 3.4 (4): SubstreamID.
  const substreams = stage1 && f.ssidSize > 0 && ste.s1cdmax > 0;
  let skipStage1 = !stage1;
  if (access.ssid !== undefined) {
    if (!substreams || access.ssid >= 2 ** ste.s1cdmax) configFault(run, 'C_BAD_SUBSTREAMID');
    if (access.ssid === 0 && ste.s1dss === 2) configFault(run, 'F_STREAM_DISABLED');
  } else if (substreams) {
    if (ste.s1dss === 0 || ste.s1dss === 3) configFault(run, 'F_STREAM_DISABLED');
    if (ste.s1dss === 1) skipStage1 = true;
  }
  // 3.4 (5): overrides.
  if (f.permsOvr) {
    if (ste.privcfg >= 2) run.privileged = ste.privcfg === 3;
    if (ste.instcfg >= 2 && !access.write) run.instruction = ste.instcfg === 3;
  }
  if (f.typesOvr) run.attributes = twinReplace(run.attributes, steOverride(ste.dw[1] as bigint));
  // 3.4 (6): stage 1 is bypassed.
  let ipa = access.address;
  if (skipStage1) {
    if (ipa >> BigInt(f.oas) !== 0n)
      translationFault(run, 'F_ADDR_SIZE', { stage: 1, class: 'IN' }, BYPASS);
    if (!stage2) return passed(run, ipa, 'bypass');
  } else {
    // 3.4 (7): CD.
    const words = locateCd(run, ste);
    const cd = cdView(words, ste, f);
    if (badCd(run, ste, cd)) configFault(run, 'C_BAD_CD');
    // 3.4 (8): stage 1.
    ipa = translateStage1(run, ste, cd);
    if (!stage2) return passed(run, ipa, 's1');
  }
  // 3.4 (9): stage 2.
  const pa = translateStage2(run, ste, {
    ipa,
    class: 'IN',
    read: !access.write || access.atomic === true,
    write: access.write,
    execute: run.instruction,
    privileged: run.privileged,
  });
  return passed(run, pa, stage1 && !skipStage1 ? 'nested' : 's2');
}

/** What becomes of a transaction. Hardware updates are written to memory. */
export function twinWalk(
  memory: TwinMemory,
  regs: TwinRegisters,
  access: TwinAccess,
  choices: TwinChoices = TWIN_CHOICES,
): TwinResult {
  const run: TwinRun = {
    memory,
    regs,
    f: twinFeatures(regs),
    choices,
    access,
    privileged: access.privileged,
    instruction: access.instruction && !access.write,
    attributes: access.attributes ?? TWIN_INCOMING,
  };
  try {
    return steps(run);
  } catch (stop) {
    if (stop instanceof TwinStop) return stop.result;
    throw stop;
  }
}
