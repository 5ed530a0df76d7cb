import { CD_BYTES, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { u64Of } from '@iommukit/bits';
import { describe, expect, test } from 'vitest';
import type { TranslatedResult, TranslationCompletion, TranslationRequest } from '../src/index.ts';
import { AT, S1_RW, S2_RO, S2_RW, type SteFields } from './nested-machine.lanes.ts';
import { ALL_ON, ATSCHK, PortMachine, SMMUEN } from './port-machine.lanes.ts';
import { SID } from './rig.lanes.ts';

type Options = ConstructorParameters<typeof PortMachine>[0];
const IPA = 0x9000_0000;
const S1_RO = S1_RW | 0x80n;
/** AP[1]=0: privileged only. */
const S1_PRIV = S1_RW & ~0x40n;
const UXN = 1n << 54n;

function ask(
  m: PortMachine,
  iova: number,
  more: Partial<TranslationRequest> = {},
): TranslationCompletion {
  return m.smmu.translationRequest({
    streamId: SID,
    address: u64Of(iova),
    noWrite: false,
    ...more,
  });
}

function send(m: PortMachine, address: number, rw: 'read' | 'write' = 'read'): TranslatedResult {
  return m.smmu.translatedTransaction({ streamId: SID, address: u64Of(address), rw });
}

/** One word for an answer. */
function word(completion: TranslationCompletion): string {
  if (completion.status !== 'success') return completion.status;
  const { read, write, execute } = completion;
  return `${read ? 'r' : '-'}${write ? 'w' : '-'}${execute ? 'x' : '-'}`;
}

function code(m: PortMachine): number {
  return m.records === 0 ? 0 : Number(BigInt(m.record(0)[0] as string) & 0xffn);
}

function stage1(options: Options = {}, ste: SteFields = {}): PortMachine {
  const m = new PortMachine(options);
  m.ste(5, { EATS: 1, ...ste }).cd();
  m.s1(0x1000, BigInt(AT.data) | S1_RW);
  return m;
}

/** By stream configuration, EATS and ATSCHK: what a request and a translated transaction meet (3.9.1.2, 3.9.1.3, 5.2). */
describe('configuration x EATS x ATSCHK (IHI 0070 3.9.1.2, 3.9.1.3)', () => {
  const F_BAD_ATS_TREQ = 5;
  const F_TRANSL_FORBIDDEN = 7;
  const rows = [
    { name: 'bypass', config: 4, eats: 0, chk: true, answer: 'ur', next: 'forbidden' },
    { name: 'bypass', config: 4, eats: 1, chk: true, answer: 'ur', next: 'forbidden' },
    { name: 'bypass', config: 4, eats: 1, chk: false, answer: 'ur', next: 'pa' },
    { name: 'stage 1', config: 5, eats: 0, chk: true, answer: 'ur', next: 'forbidden' },
    { name: 'stage 1', config: 5, eats: 0, chk: false, answer: 'ur', next: 'pa' },
    { name: 'stage 1', config: 5, eats: 1, chk: true, answer: 'pa', next: 'pa' },
    { name: 'stage 1', config: 5, eats: 1, chk: false, answer: 'pa', next: 'pa' },
    // Without DPT, 11 is 00.
    { name: 'stage 1', config: 5, eats: 3, chk: true, answer: 'ur', next: 'forbidden' },
    { name: 'stage 2', config: 6, eats: 1, chk: true, answer: 's2', next: 'pa' },
    { name: 'stage 2', config: 6, eats: 1, chk: false, answer: 's2', next: 'pa' },
    { name: 'nested', config: 7, eats: 0, chk: true, answer: 'ur', next: 'forbidden' },
    { name: 'nested', config: 7, eats: 1, chk: true, answer: 'pa', next: 'pa' },
    { name: 'nested', config: 7, eats: 1, chk: false, answer: 'pa', next: 'pa' },
    { name: 'nested', config: 7, eats: 2, chk: true, answer: 'ipa', next: 'translated' },
    // Split-stage without checks is legal and acts as off; the transaction is not looked at.
    { name: 'nested', config: 7, eats: 2, chk: false, answer: 'ur', next: 'pa' },
  ] as const;

  const machine = (row: (typeof rows)[number]): PortMachine => {
    const m = new PortMachine({ cr0: row.chk ? ALL_ON : ALL_ON & ~ATSCHK });
    m.nested();
    m.s2(0x1000, BigInt(AT.data) | S2_RW);
    if (row.config === 5) m.s1(0x1000, BigInt(AT.data) | S1_RW);
    m.ste(row.config as 5, { EATS: row.eats });
    return m;
  };

  test.each(rows)('request: $name, EATS=$eats, ATSCHK=$chk: $answer', (row) => {
    const m = machine(row);
    const answer = ask(m, 0x1000);
    if (row.answer === 'ur') {
      expect([answer.status, code(m)]).toEqual(['unsupported-request', F_BAD_ATS_TREQ]);
      expect(m.record(0)).toEqual(['0x3000000005', '0x0', '0x1000', '0x0']);
      return;
    }
    const output = row.answer === 'ipa' ? IPA : AT.data;
    expect(answer).toMatchObject({ status: 'success', start: 0x1000, output, size: 4096 });
    expect([word(answer), m.records]).toEqual(['rw-', 0]);
  });

  test.each(rows)('transaction: $name, EATS=$eats, ATSCHK=$chk: $next', (row) => {
    const m = machine(row);
    const result = send(m, row.next === 'translated' ? IPA + 4 : AT.data + 4, 'write');
    if (row.next === 'forbidden') {
      expect([result.outcome, code(m)]).toEqual(['fault', F_TRANSL_FORBIDDEN]);
      expect(m.record(0)).toEqual(['0x3000000007', '0x0', '0x41000004', '0x0']);
      expect(send(m, AT.data).outcome).toBe('fault');
      expect(m.record(1)[1]).toBe('0x800000000');
      return;
    }
    expect(result).toEqual({ outcome: 'ok', paddr: AT.data + 4, streamId: SID });
    expect(m.records).toBe(0);
  });

  test.each([
    { name: 'full', eats: 1, ste: 6 },
    { name: 'split', eats: 2, ste: 5 },
    { name: 'split', eats: 2, ste: 6 },
  ] as const)(
    'EATS=$eats with Config=$ste and S2S, or without both stages: C_BAD_STE, so CA',
    (row) => {
      const m = new PortMachine();
      m.ste(row.ste, { EATS: row.eats, S2S: row.ste === 6 ? 1 : 0 });
      expect(ask(m, 0x1000).status).toBe('completer-abort');
    },
  );
});

describe('requests that are not answered with a translation (IHI 0070 3.9.1.2)', () => {
  test('SMMUEN=0: UR and F_BAD_ATS_TREQ; the transaction is forbidden', () => {
    const m = stage1({ cr0: ALL_ON & ~SMMUEN });
    expect(ask(m, 0x1000)).toMatchObject({ status: 'unsupported-request', record: 'written' });
    expect(send(m, AT.data)).toMatchObject({ event: { event: 'F_TRANSL_FORBIDDEN' } });
    expect(m.records).toBe(2);
  });

  test('Config=000: UR and silent abort', () => {
    const m = new PortMachine();
    m.word(AT.strtab + SID * 64, 1n);
    expect(ask(m, 0x1000)).toEqual({
      status: 'unsupported-request',
      event: undefined,
      record: 'none',
    });
    expect(send(m, 0)).toEqual({ outcome: 'abort', reason: 'ste-abort', streamId: SID });
    expect(m.records).toBe(0);
  });

  const FAR = 0x8000_0000;
  const errors = [
    { name: 'C_BAD_STE', code: 4, make: (m: PortMachine) => m.word(AT.strtab + SID * 64, 0n) },
    {
      name: 'F_CD_FETCH',
      code: 9,
      make: (m: PortMachine) => m.ste(5, { EATS: 1, S1ContextPtr: FAR }),
      request: true,
    },
    { name: 'C_BAD_CD', code: 0x0a, make: (m: PortMachine) => m.cd({ V: 0 }), request: true },
    {
      name: 'F_WALK_EABT',
      code: 0x0b,
      make: (m: PortMachine) => m.word(AT.stage1, BigInt(FAR) | 3n),
      request: true,
    },
    {
      name: 'F_STREAM_DISABLED',
      code: 6,
      make: (m: PortMachine) => m.ste(5, { EATS: 1, S1CDMax: 1, S1DSS: 0 }),
      request: true,
    },
  ] as const;

  test.each(errors.flatMap((row) => [0, 8].map((cr2) => ({ ...row, cr2 }))))(
    '$name with CR2=$cr2: CA, recorded only with REC_CFG_ATS',
    ({ make, cr2, ...row }) => {
      const m = stage1({ cr2 });
      make(m);
      expect(ask(m, 0x1000).status).toBe('completer-abort');
      expect(code(m)).toBe(cr2 === 8 ? row.code : 0);
    },
  );

  test.each([0, 2, 8, 0xa])(
    'C_BAD_STREAMID with CR2=%i: a request needs RECINVSID too, a transaction does not',
    (cr2) => {
      const streamId = 0x7fff;
      const m = stage1({ cr2 });
      expect(ask(m, 0x1000, { streamId }).status).toBe('completer-abort');
      expect(code(m)).toBe(cr2 === 0xa ? 2 : 0);
      const after = m.records;
      const result = m.smmu.translatedTransaction({ streamId, address: u64Of(0), rw: 'read' });
      expect(result.outcome).toBe((cr2 & 8) !== 0 ? 'fault' : 'abort');
      expect(m.records - after).toBe((cr2 & 8) !== 0 ? 1 : 0);
    },
  );

  test.each([0, 8])('C_BAD_SUBSTREAMID with CR2=%i', (cr2) => {
    const m = stage1({ cr2 });
    expect(ask(m, 0x1000, { substreamId: 3 }).status).toBe('completer-abort');
    expect(code(m)).toBe(cr2 === 8 ? 8 : 0);
  });

  test.each([0, 8])('a transaction and an ILLEGAL STE, CR2=%i', (cr2) => {
    const m = stage1({ cr2 });
    m.word(AT.strtab + SID * 64, 0n);
    expect(send(m, AT.data).outcome).toBe(cr2 === 8 ? 'fault' : 'abort');
    expect(code(m)).toBe(cr2 === 8 ? 4 : 0);
  });

  test.each([
    { name: 'F_TRANSLATION', leaf: 0n, cd: {} },
    { name: 'F_ACCESS', leaf: (BigInt(AT.data) | S1_RW) & ~0x400n, cd: {} },
    { name: 'F_ADDR_SIZE', leaf: (1n << 47n) | S1_RW, cd: { IPS: 0 } },
    { name: 'EPD', leaf: BigInt(AT.data) | S1_RW, cd: { EPD0: 1 } },
  ])(
    '$name: success that grants nothing, of the smallest size, no event; CD.S and CD.A do not count',
    ({ leaf, cd }) => {
      for (const s of [0, 1]) {
        const m = stage1();
        m.cd({ A: 0, S: s, ...cd });
        m.s1(0x1000, leaf);
        expect(ask(m, 0x1000)).toMatchObject({
          status: 'success',
          start: 0x1000,
          size: 4096,
          read: false,
          write: false,
          execute: false,
        });
        expect([m.records, m.smmu.stalled]).toEqual([0, []]);
      }
    },
  );

  test('faults of stage 2 on the CD or a table: nothing granted either', () => {
    for (const place of ['cd', 'table'] as const)
      for (const leaf of [0n, BigInt(AT.data) | (S2_RW & ~0x40n)]) {
        const m = new PortMachine();
        const slots = m.nested({ EATS: 1 });
        m.word(slots[place], leaf);
        expect([word(ask(m, 0x1000)), m.records]).toEqual(['---', 0]);
      }
  });

  test('a stage-1 leaf that grants nothing stops the walk: stage 2 is not asked (3.9.1.2)', () => {
    const m = new PortMachine();
    m.nested({ EATS: 1 });
    m.s1(0x1000, BigInt(IPA) | S1_PRIV);
    const before = m.smmu.counters.ipaMisses + m.smmu.counters.ipaHits;
    ask(m, 0x1000);
    const first = m.smmu.counters.ipaMisses + m.smmu.counters.ipaHits - before;
    expect(word(ask(m, 0x1000))).toBe('---');
    // Only the CD and the tables go through stage 2, never the output of the leaf.
    expect(m.smmu.counters.ipaMisses + m.smmu.counters.ipaHits - before).toBe(first);
    expect(m.smmu.tlbSize).toBeGreaterThan(0);
  });
});

describe('what is granted (IHI 0070 13.7)', () => {
  const USER_RO_PRIV_RW = S1_RO;
  // The examples of 13.7 and its pseudocode: page permissions, request, answer.
  test.each([
    { leaf: S1_RW | UXN, nw: false, exe: false, priv: false, answer: 'rw-' },
    { leaf: S1_RW | UXN, nw: true, exe: false, priv: false, answer: 'r--' },
    { leaf: S1_RW, nw: false, exe: true, priv: false, answer: 'rwx' },
    { leaf: S1_RW | UXN, nw: false, exe: true, priv: false, answer: 'rw-' },
    { leaf: USER_RO_PRIV_RW, nw: false, exe: false, priv: false, answer: 'r--' },
    { leaf: S1_PRIV, nw: false, exe: false, priv: true, answer: 'rw-' },
    { leaf: S1_PRIV, nw: false, exe: false, priv: false, answer: '---' },
    // Execute-only for EL0: nothing.
    { leaf: S1_PRIV, nw: false, exe: true, priv: false, answer: '---' },
    // A page that EL0 may write is never executed at EL1.
    { leaf: S1_RW, nw: false, exe: true, priv: true, answer: 'rw-' },
    { leaf: S1_RO, nw: false, exe: true, priv: true, answer: 'r-x' },
  ])('leaf $leaf NW=$nw Exe=$exe Priv=$priv: $answer', ({ leaf, nw, exe, priv, answer }) => {
    const m = stage1({}, { S1CDMax: 2, S1DSS: 2 });
    m.cd({}, AT.cd + CD_BYTES);
    m.s1(0x1000, BigInt(AT.data) | leaf);
    const completion = ask(m, 0x1000, {
      substreamId: 1,
      noWrite: nw,
      execute: exe,
      privileged: priv,
    });
    expect([word(completion), completion]).toMatchObject([answer, { privileged: priv }]);
  });

  test('without a PASID, Priv and Exe are 0 in and out', () => {
    const m = stage1();
    m.s1(0x1000, BigInt(AT.data) | S1_PRIV);
    expect(word(ask(m, 0x1000, { privileged: true, execute: true }))).toBe('---');
    m.s1(0x2000, BigInt(AT.data) | S1_RW);
    const completion = ask(m, 0x2000, { privileged: true, execute: true });
    expect([word(completion), completion]).toMatchObject(['rw-', { privileged: false }]);
  });

  test('NW=1 and a page that is writable: by policy', () => {
    const m = stage1({ policy: { unaskedWrite: 'granted' } });
    expect(word(ask(m, 0x1000, { noWrite: true }))).toBe('rw-');
    m.s1(0x2000, BigInt(AT.data) | S1_RO);
    expect(word(ask(m, 0x2000, { noWrite: true }))).toBe('r--');
  });

  test.each([
    { instCfg: 2, leaf: S1_RW | UXN, answer: 'rwx' },
    { instCfg: 3, leaf: S1_RW | UXN, answer: '-w-' },
    { instCfg: 3, leaf: S1_RW, answer: 'rwx' },
    // Execute-only pages are readable where every read is an instruction fetch.
    { instCfg: 3, leaf: S1_PRIV, answer: 'r-x' },
  ])('INSTCFG=$instCfg, leaf $leaf: $answer', ({ instCfg, leaf, answer }) => {
    const m = stage1({}, { S1CDMax: 2, S1DSS: 2, INSTCFG: instCfg });
    m.cd({}, AT.cd + CD_BYTES);
    m.s1(0x1000, BigInt(AT.data) | leaf);
    expect(word(ask(m, 0x1000, { substreamId: 1, execute: true }))).toBe(answer);
  });

  test('PRIVCFG decides what is checked, the request what Priv is answered', () => {
    const m = stage1({}, { S1CDMax: 2, S1DSS: 2, PRIVCFG: 2 });
    m.cd({}, AT.cd + CD_BYTES);
    m.s1(0x1000, BigInt(AT.data) | S1_PRIV);
    const completion = ask(m, 0x1000, { substreamId: 1, privileged: true });
    expect([word(completion), completion]).toMatchObject(['---', { privileged: true }]);
  });

  test('both stages limit; the size is the smaller one, the output that of the stage by EATS (13.6.3)', () => {
    for (const [eats, output] of [
      [1, AT.data],
      [2, IPA],
    ] as const) {
      const m = new PortMachine();
      const { s2 } = m.nested({ EATS: eats });
      m.word(s2, BigInt(AT.data) | S2_RO);
      // A 2 MiB block of stage 1 over 4 KiB pages of stage 2.
      m.map(AT.stage1, 0x20_0000, (BigInt(IPA) & ~0x1f_ffffn) | (S1_RW & ~2n), 2);
      const completion = ask(m, 0x20_0000 + (IPA % 0x20_0000));
      expect([word(completion), completion]).toMatchObject(['r--', { size: 4096, output }]);
    }
  });

  test('a block is one completion, or the smallest unit by policy', () => {
    for (const [policy, size] of [
      [{}, 0x20_0000],
      [{ completionSize: 'stu' }, 4096],
    ] as const) {
      const m = stage1({ policy });
      m.map(AT.stage1, 0x40_0000, 0x4000_0000n | (S1_RW & ~2n), 2);
      const start = size === 4096 ? 0x40_3000 : 0x40_0000;
      const output = size === 4096 ? 0x4000_3000 : 0x4000_0000;
      expect(ask(m, 0x40_3000)).toMatchObject({ start, size, output });
    }
  });

  test('the smallest unit is the smallest granule (3.9.1)', () => {
    const m = new PortMachine({ features: { gran4k: false, gran16k: false, ds: false } });
    m.ste(5, { EATS: 1 }).cd({ TG0: 1, T0SZ: 22 });
    expect(ask(m, 0x1_3000)).toMatchObject({ start: 0x1_0000, size: 0x1_0000, read: false });
  });
});

describe('S1DSS=01 without a PASID (IHI 0070 13.6.4, 13.6.5)', () => {
  const ste = { S1CDMax: 2, S1DSS: 1 } as const;

  test('stage 1 only: identity, all allowed, up to OAS', () => {
    const m = stage1({}, ste);
    expect(ask(m, 0x1234_5000, { noWrite: true })).toMatchObject({
      status: 'success',
      start: 0,
      output: 0,
      size: 2 ** 52,
      read: true,
      write: true,
      execute: false,
    });
    expect(word(ask(m, 2 ** 53))).toBe('---');
  });

  test('nested, full: the result of stage 2; split: identity with its permissions', () => {
    for (const [eats, output] of [
      [1, AT.data],
      [2, IPA],
    ] as const) {
      const m = new PortMachine();
      const { s2 } = m.nested({ EATS: eats, ...ste });
      m.word(s2, BigInt(AT.data) | S2_RO);
      const completion = ask(m, IPA);
      expect([word(completion), completion]).toMatchObject([
        'r--',
        { start: IPA, output, size: 4096 },
      ]);
    }
  });
});

describe('hardware updates by requests (IHI 0070 3.9.1, 3.13.7, 13.7)', () => {
  const DBM = 1n << 51n;
  test.each([
    { nw: false, answer: 'rw-', dirty: true },
    { nw: true, answer: 'r--', dirty: false },
  ])('NW=$nw of a writable-clean page: $answer', ({ nw, answer, dirty }) => {
    const m = stage1();
    m.cd({ HA: 1, HD: 1 });
    const slot = m.s1(0x1000, (BigInt(AT.data) | S1_RO | DBM) & ~0x400n);
    expect(word(ask(m, 0x1000, { noWrite: nw }))).toBe(answer);
    // AF is set by both, AP[2] cleared by the one that may write.
    expect(m.read(slot) & 0x480n).toBe(dirty ? 0x400n : 0x480n);
  });
});

describe('translated transactions (IHI 0070 3.9.1.1, 3.9.1.3)', () => {
  const ABOVE = 2 ** 45 + 0x1000;
  const narrow = { oas: 44, ds: false, vax: 48 } as const;

  test.each([
    { cr0: ALL_ON & ~ATSCHK, policy: 'abort' },
    { cr0: ALL_ON & ~ATSCHK, policy: 'truncate' },
    { cr0: ALL_ON, policy: 'abort' },
    { cr0: ALL_ON, policy: 'truncate' },
  ] as const)('an address above OAS, CR0=$cr0: $policy, no event', ({ cr0, policy }) => {
    const m = stage1({ cr0, features: narrow, policy: { translatedAboveOas: policy } });
    m.cd({ IPS: 4 });
    expect(send(m, ABOVE)).toEqual(
      policy === 'abort'
        ? { outcome: 'abort', reason: 'address-above-oas', streamId: SID }
        : { outcome: 'ok', paddr: 0x1000, streamId: SID },
    );
    expect(m.records).toBe(0);
  });

  test('split-stage: above IAS is F_ADDR_SIZE of stage 1, recorded', () => {
    const m = new PortMachine({ features: narrow });
    m.ste(7, { EATS: 2, S2PS: 4, S2T0SZ: 25 }).cd({ IPS: 4 });
    expect(send(m, ABOVE)).toMatchObject({
      outcome: 'fault',
      event: { event: 'F_ADDR_SIZE', stage: 1, class: 'IN' },
      record: 'written',
    });
  });

  test.each([
    { s2r: 1, record: 'written' },
    { s2r: 0, record: 'suppressed' },
  ])(
    'split-stage: a fault of stage 2 is recorded as of any transaction, S2R=$s2r',
    ({ s2r, record }) => {
      const m = new PortMachine();
      m.nested({ EATS: 2, S2R: s2r });
      expect(send(m, 0xa000_0000, 'write')).toMatchObject({
        outcome: 'fault',
        response: 'abort',
        event: { event: 'F_TRANSLATION', stage: 2, class: 'IN', rw: 'write' },
        record,
      });
      expect(m.records).toBe(s2r);
      if (s2r === 1)
        expect(m.record(0)).toEqual(['0x3000000010', '0x28000000000', '0xa0000000', '0xa0000000']);
    },
  );

  test('split-stage: treated as unprivileged data, but for the overrides of the STE (13.7)', () => {
    const m = new PortMachine();
    const { s2 } = m.nested({ EATS: 2 });
    // XN=10: never executable.
    m.word(s2, BigInt(AT.data) | S2_RW | (2n << 53n));
    expect(send(m, IPA).outcome).toBe('ok');
    const fetches = new PortMachine();
    const other = fetches.nested({ EATS: 2, INSTCFG: 3 });
    fetches.word(other.s2, BigInt(AT.data) | S2_RW | (2n << 53n));
    expect(send(fetches, IPA)).toMatchObject({
      event: { event: 'F_PERMISSION', instruction: true },
    });
    expect(send(fetches, IPA, 'write').outcome).toBe('ok');
  });

  test('S1DSS does not disable translated transactions without PASIDTT (7.3.7)', () => {
    const m = stage1({}, { S1CDMax: 2, S1DSS: 0 });
    expect(send(m, AT.data).outcome).toBe('ok');
  });

  test('without IDR0.ATS there is no port: refused as if SMMUEN were 0', () => {
    const m = stage1({ features: { ats: false, pri: false, atsRecErr: false } });
    expect(ask(m, 0x1000).status).toBe('unsupported-request');
    expect(send(m, AT.data).outcome).toBe('fault');
  });

  test('access that no bus makes is refused with DMA_ACCESS', () => {
    const m = stage1();
    const bad = { streamId: -1, address: u64Of(0) };
    for (const call of [
      () => m.smmu.translationRequest({ ...bad, noWrite: true }),
      () => m.smmu.translatedTransaction({ ...bad, rw: 'read' }),
    ])
      expect(call).toThrow(expect.objectContaining({ code: 'DMA_ACCESS' }));
    expect(m.reg(R.GERROR)).toBe(0);
  });
});
