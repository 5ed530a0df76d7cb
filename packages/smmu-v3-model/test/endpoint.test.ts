import { CD_BYTES, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { u64Of } from '@iommukit/bits';
import { describe, expect, test } from 'vitest';
import { Endpoint, type EndpointAccess } from '../src/index.ts';
import { AT, command, S1_RW, S2_RW } from './nested-machine.lanes.ts';
import { ALL_ON, PortMachine, PRIQEN, SMMUEN } from './port-machine.lanes.ts';
import { SID } from './rig.lanes.ts';

const at = (iova: number, more: Partial<EndpointAccess> = {}): EndpointAccess => ({
  address: u64Of(iova),
  rw: 'read',
  ...more,
});

type Options = ConstructorParameters<typeof PortMachine>[0];

/** A stream of stage 1 with full ATS; pages 0x1000 to 0x8fff, PASIDs 1 to 3 through the same tables. */
function rig(options: Options = {}): { m: PortMachine; endpoint: Endpoint; slots: number[] } {
  const m = new PortMachine(options);
  m.ste(5, { EATS: 1, S1CDMax: 2, S1DSS: 2 }).cd();
  for (let ssid = 1; ssid < 4; ssid++) m.cd({ ASID: 6 + ssid }, AT.cd + ssid * CD_BYTES);
  const slots = [];
  for (let page = 0x1000; page < 0x9000; page += 0x1000)
    slots.push(m.s1(page, BigInt(AT.data + page) | S1_RW));
  const endpoint = new Endpoint({ smmu: m.smmu, streamId: SID, ats: true, pri: true });
  return { m, endpoint, slots };
}

function pages(endpoint: Endpoint): string[] {
  return endpoint.translations
    .map(({ start, substreamId }) => `${substreamId ?? '-'}:${start.toString(16)}`)
    .sort();
}

describe('an endpoint without ATS', () => {
  test('sends untranslated transactions, and hears how its stalls end', () => {
    const m = new PortMachine();
    m.ste(5).cd({ S: 1 });
    const endpoint = new Endpoint({ smmu: m.smmu, streamId: SID });
    expect(endpoint.access(at(0x5000))).toMatchObject({
      via: 'untranslated',
      result: { outcome: 'stall', stag: 0 },
    });
    m.resume(0, 'raz-wi');
    expect(endpoint.stallEnds).toMatchObject([
      { transaction: { stag: 0 }, end: { outcome: 'terminated', response: 'raz-wi' } },
    ]);
  });

  test('page requests need ATS', () => {
    const m = new PortMachine();
    expect(() => new Endpoint({ smmu: m.smmu, streamId: SID, pri: true })).toThrow(
      expect.objectContaining({ code: 'ENDPOINT_PRI_WITHOUT_ATS' }),
    );
  });
});

describe('the translation cache (IHI 0070 3.9.1)', () => {
  test('one request, then hits; offsets pass through', () => {
    const { m, endpoint } = rig();
    expect(endpoint.access(at(0x1234))).toMatchObject({
      via: 'translated',
      hit: false,
      result: { outcome: 'ok', paddr: AT.data + 0x1234 },
    });
    const { tlbHits, tlbMisses } = m.smmu.counters;
    expect(endpoint.access(at(0x1ff8))).toMatchObject({
      hit: true,
      result: { paddr: AT.data + 0x1ff8 },
    });
    expect(m.smmu.counters).toMatchObject({ tlbHits, tlbMisses });
  });

  test('entries are told apart by PASID and by privilege', () => {
    const { endpoint } = rig();
    endpoint.access(at(0x1000));
    endpoint.access(at(0x1000, { substreamId: 1 }));
    endpoint.access(at(0x1000, { substreamId: 1, privileged: true }));
    expect(endpoint.translations).toHaveLength(3);
  });

  test('a write through a read-only grant asks again', () => {
    const { endpoint } = rig();
    endpoint.access(at(0x1000));
    expect(endpoint.translations).toMatchObject([{ read: true, write: false }]);
    expect(endpoint.access(at(0x1000, { rw: 'write' }))).toMatchObject({ hit: false });
    expect(endpoint.translations).toMatchObject([{ read: true, write: true }]);
    expect(endpoint.access(at(0x1000, { rw: 'atomic' }))).toMatchObject({ hit: true });
  });

  test('ATS off empties it', () => {
    const { endpoint } = rig();
    endpoint.access(at(0x1000));
    endpoint.setAts('off');
    expect([endpoint.translations, endpoint.atsEnabled]).toEqual([[], false]);
    expect(endpoint.access(at(0x1000)).via).toBe('untranslated');
  });

  test('refused requests are not kept', () => {
    const { m, endpoint } = rig();
    m.ste(5, { EATS: 0 });
    m.command(...command.cfgiSte());
    expect(endpoint.access(at(0x1000))).toMatchObject({
      via: 'refused',
      completion: { status: 'unsupported-request' },
    });
    expect(endpoint.translations).toEqual([]);
  });
});

describe('CMD_ATC_INV (IHI 0070 4.5.1)', () => {
  const filled = (options: Options = {}): ReturnType<typeof rig> => {
    const made = rig(options);
    for (let page = 0x1000; page < 0x9000; page += 0x1000) made.endpoint.access(at(page));
    made.endpoint.access(at(0x1000, { substreamId: 1 }));
    made.endpoint.access(at(0x2000, { substreamId: 2 }));
    return made;
  };
  const PLAIN = ['1000', '2000', '3000', '4000', '5000', '6000', '7000', '8000'].map(
    (p) => `-:${p}`,
  );

  test.each([
    { name: 'one page', address: 0x3000n, size: 0n, gone: ['-:3000'] },
    { name: 'two pages, aligned down', address: 0x3000n, size: 1n, gone: ['-:2000', '-:3000'] },
    {
      name: 'four pages, low bits of the address do not count',
      address: 0x7000n,
      size: 2n,
      gone: ['-:4000', '-:5000', '-:6000', '-:7000'],
    },
    { name: 'another range', address: 0x10_0000n, size: 4n, gone: [] },
    { name: 'everything', address: 0x1234_5000n, size: 52n, gone: PLAIN },
    { name: 'half of the space', address: 0n, size: 51n, gone: PLAIN },
    { name: 'the other half', address: 1n << 63n, size: 51n, gone: [] },
    { name: 'PASID 1', address: 0x1000n, size: 0n, ssid: 1, gone: ['1:1000'] },
    { name: 'PASID 1, all', address: 0n, size: 52n, ssid: 1, gone: ['1:1000'] },
    { name: 'PASID 1, another page', address: 0x2000n, size: 0n, ssid: 1, gone: [] },
    // The SMMU never grants a global translation: Global reaches no other PASID.
    { name: 'PASID 1, global', address: 0n, size: 52n, ssid: 1, global: true, gone: ['1:1000'] },
    { name: 'another stream', address: 0n, size: 52n, sid: SID + 1, gone: [] },
  ])('$name', ({ address, size, gone, ...more }) => {
    const { m, endpoint } = filled();
    const before = pages(endpoint);
    m.atcInv(address, size, more);
    expect(before.filter((page) => !pages(endpoint).includes(page))).toEqual(gone);
  });

  test('S1DSS=10: what was asked for without a PASID goes without one (4.5.1)', () => {
    const { m, endpoint } = filled();
    m.atcInv(0x1000n, 0n, { ssid: 0 });
    expect(pages(endpoint)).toContain('-:1000');
    m.atcInv(0x1000n, 0n);
    expect(pages(endpoint)).not.toContain('-:1000');
  });

  test('TLBI never reaches it, and it never reaches the TLB', () => {
    const { m, endpoint } = filled();
    const before = pages(endpoint);
    m.command(...command.nsnh());
    expect([pages(endpoint), m.smmu.tlbSize]).toEqual([before, 0]);
    m.access(0x1000);
    m.atcInv(0n, 52n);
    expect(m.smmu.tlbSize).toBe(1);
  });

  test('with SMMUEN=0 it is ignored', () => {
    const { m, endpoint } = filled();
    const before = pages(endpoint);
    m.set(R.CR0, ALL_ON & ~SMMUEN);
    m.atcInv(0n, 52n);
    expect([pages(endpoint), m.reg(R.GERROR)]).toEqual([before, 0]);
  });

  test('at-sync: it works when the SYNC does', () => {
    const { m, endpoint } = filled({ policy: { invalidate: 'at-sync', consume: 'step' } });
    m.atcInv(0n, 52n);
    expect(endpoint.translations.length).toBeGreaterThan(2);
    m.smmu.run();
    expect(endpoint.translations).toHaveLength(2);
  });

  test('an endpoint that is disconnected, or answers UR: no error (3.9.1.5)', () => {
    const { m, endpoint } = filled();
    endpoint.invalidationAnswer = 'unsupported';
    m.atcInv(0n, 52n);
    m.smmu.disconnect(SID);
    m.atcInv(0n, 52n);
    expect([m.reg(R.GERROR), endpoint.translations.length]).toEqual([0, 10]);
  });
});

describe('invalidation timeout (IHI 0070 3.9.1.4, 4.7.3, 7.1)', () => {
  test.each(['at-command', 'at-sync'] as const)(
    'the SYNC stops with CERROR_ATC_INV_SYNC, and passes when it is given again (%s)',
    (invalidate) => {
      const { m, endpoint } = rig({ policy: { invalidate } });
      endpoint.access(at(0x1000));
      endpoint.invalidationAnswer = 'timeout';
      m.atcInv(0n, 52n);
      // The ATC_INV was consumed; CONS stands on the SYNC, ERR=3.
      expect([m.reg(R.CMDQ_CONS), m.reg(R.GERROR)]).toEqual([0x0300_0001, 1]);
      expect(m.smmu.counters.syncs).toBe(0);
      m.set(R.GERRORN, 1);
      expect([m.reg(R.CMDQ_CONS) & 0xf_ffff, m.reg(R.GERROR)]).toEqual([2, 1]);
      expect(m.smmu.counters.syncs).toBe(1);
    },
  );

  test('no completion signal for a SYNC that failed', () => {
    const { m, endpoint } = rig();
    endpoint.invalidationAnswer = 'timeout';
    m.word(AT.cmdq, 0x40n | (BigInt(SID) << 32n));
    m.word(AT.cmdq + 8, 52n);
    m.word(AT.cmdq + 16, 0x1046n);
    m.set(R.CMDQ_PROD, 2);
    expect(m.lines).toEqual(['gerror']);
  });
});

describe('stale use of the cache (IHI 0070 3.9.1, 4.5.1)', () => {
  const classes = (m: PortMachine): string[] =>
    m.smmu.staleUses.map((use) => `${use.kind} ${use.class}`);

  test('unmapped with TLBI but without ATC_INV: missing, and named', () => {
    const { m, endpoint, slots } = rig();
    endpoint.access(at(0x1000));
    m.word(slots[0] as number, 0n);
    m.command(...command.nsnh());
    expect(endpoint.access(at(0x1000)).via).toBe('translated');
    expect(m.smmu.staleUses).toMatchObject([
      { kind: 'atc', class: 'missing', streamId: SID, iova: 0x1000, paddr: slots[0] },
    ]);
    expect(m.smmu.staleUses[0]?.removedBy[0]).toBe('CMD_ATC_INV sid=0x30 iova=0x1000');
    // A later invalidation makes it the window before the command.
    m.atcInv(0x1000n, 0n);
    expect(classes(m)).toEqual(['atc race']);
  });

  test('with all commands: nothing stale', () => {
    const { m, endpoint, slots } = rig();
    endpoint.access(at(0x1000));
    m.word(slots[0] as number, 0n);
    m.command(...command.nsnh());
    m.atcInv(0x1000n, 0n);
    endpoint.access(at(0x1000));
    expect(m.smmu.staleUseCount).toBe(0);
  });

  test('ATC_INV before the TLBI refills from the stale TLB: that one is told', () => {
    const { m, endpoint, slots } = rig();
    endpoint.access(at(0x1000));
    m.word(slots[0] as number, 0n);
    m.atcInv(0x1000n, 0n);
    endpoint.access(at(0x1000));
    expect(classes(m)).toContain('tlb missing');
    m.command(...command.nsnh());
    endpoint.access(at(0x1000));
    expect(classes(m)).toContain('atc missing');
  });

  test('queued and not consumed: pending', () => {
    const { m, endpoint, slots } = rig({ policy: { consume: 'step' } });
    endpoint.access(at(0x1000));
    m.word(slots[0] as number, 0n);
    m.word(AT.cmdq, 0x40n | (BigInt(SID) << 32n));
    m.word(AT.cmdq + 8, 0x1000n);
    m.set(R.CMDQ_PROD, 1);
    endpoint.access(at(0x1000));
    expect(classes(m)).toEqual(['atc pending']);
  });

  test.each([
    { name: 'stage 2 of a nested stream', eats: 1 as const },
    { name: 'the same with split-stage', eats: 2 as const },
  ])('$name counts too', ({ eats }) => {
    const m = new PortMachine();
    const { s2 } = m.nested({ EATS: eats });
    const endpoint = new Endpoint({ smmu: m.smmu, streamId: SID, ats: true });
    endpoint.access(at(0x1000));
    m.word(s2, BigInt(AT.data + 0x1000) | S2_RW);
    m.command(...command.s12());
    endpoint.access(at(0x1000));
    expect(classes(m)).toContain('atc missing');
  });

  test('a CD or STE that changed counts, a descriptor that only got its access flag does not', () => {
    const cd = rig();
    cd.endpoint.access(at(0x1000));
    cd.m.cd({ TTB0: AT.stage1 + 0x8000 });
    cd.m.command(...command.cfgiCd());
    cd.m.command(...command.nsnh());
    cd.endpoint.access(at(0x1000));
    expect(classes(cd.m)).toEqual(['atc missing']);
    const ste = rig();
    ste.endpoint.access(at(0x1000));
    ste.m.ste(5, { EATS: 1, S1CDMax: 2, S1DSS: 2, PRIVCFG: 3 });
    ste.m.command(...command.cfgiSte());
    ste.endpoint.access(at(0x1000));
    expect(classes(ste.m)).toEqual(['atc missing']);
  });
});

describe('page requests of an endpoint (IHI 0070 3.9.1, 8)', () => {
  test('not there, asked for, made present, answered, there', () => {
    const { m, endpoint, slots } = rig();
    m.word(slots[0] as number, 0n);
    expect(endpoint.access(at(0x1000, { rw: 'write', substreamId: 1 }))).toMatchObject({
      via: 'page-requested',
      group: 0,
      answer: { outcome: 'queued' },
    });
    // SSV, Last, W; SSID 1; group 0.
    expect(m.pageRequest(0)).toEqual(['0xe000000100000030', '0x1000']);
    m.word(slots[0] as number, BigInt(AT.data) | S1_RW);
    m.command(0x41n | 0x800n | (1n << 12n) | (BigInt(SID) << 32n), 2n << 12n);
    expect(endpoint.pageResponses).toEqual([{ streamId: SID, substreamId: 1, group: 0, code: 0 }]);
    expect(endpoint.access(at(0x1000, { rw: 'write', substreamId: 1 }))).toMatchObject({
      via: 'translated',
      result: { outcome: 'ok' },
    });
  });

  test('an answer of the SMMU itself comes at once', () => {
    const { m, endpoint, slots } = rig({ cr0: ALL_ON & ~PRIQEN });
    m.word(slots[0] as number, 0n);
    expect(endpoint.access(at(0x1000))).toMatchObject({
      via: 'page-requested',
      answer: { outcome: 'answered', response: { code: 15 } },
    });
    expect(endpoint.pageResponses).toMatchObject([{ code: 15 }]);
  });

  test('without PRI it is denied', () => {
    const { m, slots } = rig();
    m.word(slots[0] as number, 0n);
    const endpoint = new Endpoint({ smmu: m.smmu, streamId: SID, ats: true });
    expect(endpoint.access(at(0x1000)).via).toBe('denied');
  });

  test('groups of several requests, and a Stop marker', () => {
    const { m, endpoint } = rig();
    endpoint.requestPage(at(0x1000, { substreamId: 1 }), { group: 5, last: false });
    endpoint.requestPage(at(0x2000, { substreamId: 1 }), { group: 5, last: true });
    endpoint.stopPasid(1);
    expect([0, 1, 2].map((i) => m.pageRequest(i))).toEqual([
      ['0x9000000100000030', '0x1005'],
      ['0xd000000100000030', '0x2005'],
      ['0xc000000100000030', '0x0'],
    ]);
  });

  test('512 groups, then again from 0', () => {
    const { m, endpoint, slots } = rig({ cr0: ALL_ON & ~PRIQEN });
    m.word(slots[0] as number, 0n);
    for (let i = 0; i < 512; i++) endpoint.access(at(0x1000));
    expect(endpoint.access(at(0x1000))).toMatchObject({ group: 0 });
  });
});
