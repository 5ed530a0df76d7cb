import { CD, OPCODE, REGISTER_OFFSET } from '@iommukit/arm-arch';
import type { IommuDevice, IommuDomain, ProcessNotifier, ProcessSpace } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  type DeviceTraits,
  DRIVER_PROFILES,
  type FaultQueueControl,
  type ProcessTables,
  ProcessTablesError,
  type SmmuV3Driver,
  type SvaRefusal,
  sharedCd,
  svaRefusal,
} from '../src/index.ts';
import { type IdWords, idsWith } from './fake-smmu.lanes.ts';
import { probed, Rig, type RigOptions } from './rig.ts';

const IDS = idsWith({ idr0: { ATS: 1, STALL_MODEL: 0, CD2L: 1 }, idr1: { SSIDSIZE: 8 } });
const TABLES: ProcessTables = {
  pgd: 0x4123_4000,
  vaBits: 48,
  pageSize: 4096,
  ips: 4,
  mair: { lo: 0xf404_ff44, hi: 0xffff_ffff },
  haft: false,
  bbml2: false,
  asidBits: 16,
};

class Process implements ProcessSpace {
  users = 1;
  errno = 0;
  readonly tables: unknown;
  readonly notifiers: ProcessNotifier[] = [];

  constructor(tables: unknown = TABLES) {
    this.tables = tables;
  }

  addNotifier(notifier: ProcessNotifier): number {
    if (this.errno === 0) this.notifiers.push(notifier);
    return this.errno;
  }

  removeNotifier(notifier: ProcessNotifier): void {
    this.notifiers.splice(this.notifiers.indexOf(notifier), 1);
  }
}

interface MadeOptions extends Omit<RigOptions, 'ids'> {
  readonly traits?: DeviceTraits;
  readonly streams?: readonly number[];
  readonly words?: IdWords;
}

function made({ traits = {}, streams = [8], words = IDS, ...rest }: MadeOptions = {}) {
  const rig = new Rig({
    profile: DRIVER_PROFILES['7.3'],
    ...rest,
    ids: words,
    parts: { traitsOf: () => traits, ...rest.parts },
  });
  const driver = rig.up();
  const device = pasidDevice(driver, streams);
  rig.forget();
  return { rig, driver, device };
}

function pasidDevice(driver: SmmuV3Driver, ids: readonly number[]): IommuDevice {
  const device = probed(driver, 'a', ids);
  driver.releaseDevice(device);
  Object.assign(device.info, { maxPasids: 256 });
  driver.probeDevice(device);
  return device;
}

function domainOver(driver: SmmuV3Driver, device: IommuDevice, process: Process): IommuDomain {
  const domain = driver.domainAllocSva(device, process);
  if (typeof domain === 'number') throw new Error(`sva: ${domain}`);
  return domain;
}

/** Opcodes consumed since the last call. */
function opcodes(rig: Rig): number[] {
  const taken = rig.smmu.commands.map(([q0]) => Number(q0 & 0xffn));
  rig.smmu.commands.length = 0;
  return taken;
}

const { CFGI_CD, TLBI_NH_ASID, TLBI_NH_VA, ATC_INV } = OPCODE;
const CMD_SYNC = 0x46;

describe('whether tables can be shared', () => {
  const features = {
    coherent: true,
    va52: true,
    bbml2: true,
    tableAccessFlag: true,
    pgsizeBitmap: 0x1000 + 0x1_0000,
    oas: 48,
    asidBits: 16,
  };
  const rows: [string, Partial<typeof features>, Partial<ProcessTables>, SvaRefusal | null][] = [
    ['all is well', {}, {}, null],
    ['walks are not coherent', { coherent: false }, {}, 'coherency'],
    ['52 bits with 64 KiB', {}, { vaBits: 52, pageSize: 0x1_0000 }, null],
    ['52 bits with 4 KiB', {}, { vaBits: 52 }, 'va-size'],
    ['52 bits without VAX', { va52: false }, { vaBits: 52, pageSize: 0x1_0000 }, 'va-size'],
    ['the CPU uses BBML2', {}, { bbml2: true }, null],
    ['the SMMU has it not', { bbml2: false }, { bbml2: true }, 'bbml2'],
    ['the CPU has no use for it', { bbml2: false }, {}, null],
    ['the CPU uses HAFT', { tableAccessFlag: false }, { haft: true }, 'haft'],
    ['another page size', {}, { pageSize: 0x4000 }, 'page-size'],
    ['the CPU reaches more memory', { oas: 44 }, { ips: 5 }, 'output-size'],
    ['the SMMU reaches more', {}, { ips: 2 }, null],
    ['the CPU has more ASIDs', { asidBits: 8 }, {}, 'asid-size'],
    ['the SMMU has more', {}, { asidBits: 8 }, null],
  ];
  test.each(rows)('%s', (_name, smmu, cpu, want) => {
    expect(svaRefusal({ ...features, ...smmu }, { ...TABLES, ...cpu })).toBe(want);
  });

  test('a domain over others is refused, and no ASID is lost', () => {
    const { driver, device } = made();
    const process = new Process({ ...TABLES, ips: 6 });
    expect(driver.domainAllocSva(device, process)).toBe(-ERRNO.EOPNOTSUPP);
    expect(process.notifiers).toEqual([]);
  });

  test('kernels whose descriptors are the domain cannot', () => {
    const { driver, device } = made({ profile: DRIVER_PROFILES['6.1'] });
    expect(driver.domainAllocSva(device, new Process())).toBe(-ERRNO.EOPNOTSUPP);
  });

  test('what are no tables of an Arm CPU is a mistake of the caller', () => {
    const { driver, device } = made();
    for (const tables of [null, 7, {}, { ...TABLES, pgd: '0x1000' }])
      expect(() => driver.domainAllocSva(device, new Process(tables))).toThrow(ProcessTablesError);
  });

  test('a process that takes no notifier gives its errno, and the ASID back', () => {
    const { driver, device } = made();
    const process = Object.assign(new Process(), { errno: -ERRNO.EINVAL });
    expect(driver.domainAllocSva(device, process)).toBe(-ERRNO.EINVAL);
    const domain = domainOver(driver, device, new Process());
    domain.ops.setDevPasid?.(device, 1, null);
    expect((domain.ops as unknown as { id: number }).id).toBe(1);
  });
});

describe('attaching a PASID', () => {
  test('writes the CD of the process: three stores, two SYNCs, no TLBI', () => {
    const { rig, driver, device } = made({ traits: { stall: true } });
    const domain = domainOver(driver, device, new Process());
    expect(opcodes(rig)).toEqual([]);
    expect(domain.ops.setDevPasid?.(device, 5, null)).toBe(0);
    // Then the STE of a device that did not translate.
    expect(opcodes(rig).slice(0, 4)).toEqual([CFGI_CD, CMD_SYNC, CFGI_CD, CMD_SYNC]);
    expect(domain.ops.attachDev(device, null)).toBe(-ERRNO.ENODEV);
  });

  test('an exited process: -EINVAL, nothing written', () => {
    const { rig, driver, device } = made();
    const process = new Process();
    const domain = domainOver(driver, device, process);
    process.users = 0;
    expect(domain.ops.setDevPasid?.(device, 5, null)).toBe(-ERRNO.EINVAL);
    expect(opcodes(rig)).toEqual([]);
  });

  test('a device of another SMMU: -EINVAL', () => {
    const { driver, device } = made();
    const other = made();
    const domain = domainOver(driver, device, new Process());
    expect(domain.ops.setDevPasid?.(other.device, 5, null)).toBe(-ERRNO.EINVAL);
  });

  test('nobody maps it', () => {
    const { driver, device } = made();
    const { ops } = domainOver(driver, device, new Process());
    expect(ops.mapPages(0, 0, 4096, 1, 3)).toBe(-ERRNO.ENODEV);
    expect([ops.unmapPages(0, 4096, 1, {} as never), ops.iovaToPhys(0)]).toEqual([0, 0]);
  });
});

function attached(options: MadeOptions = {}) {
  const { rig, driver, device } = made(options);
  const process = new Process();
  const domain = domainOver(driver, device, process);
  expect(domain.ops.setDevPasid?.(device, 5, null)).toBe(0);
  rig.forget();
  const [notifier] = process.notifiers;
  if (notifier === undefined) throw new Error('no notifier');
  return { rig, driver, device, process, domain, notifier };
}

describe('notices of the process', () => {
  // Op 0x12, SCALE 25:20, ASID 63:48 = 1; TG 11:10 = 1, LEAF 0, TTL 0.
  test('two pages are one range command that drops table entries too', () => {
    const { rig, notifier } = attached();
    notifier.invalidate(0x7000_0000, 0x7000_2000);
    expect(rig.smmu.commands.map(([q0, q1]) => [q0, q1]).slice(0, 1)).toEqual([
      [(1n << 48n) + (1n << 20n) + 0x12n, 0x7000_0400n],
    ]);
    expect(opcodes(rig)).toEqual([TLBI_NH_VA, CMD_SYNC]);
  });

  test('one page grows by one, as ranges without leaf do', () => {
    const { rig, notifier } = attached();
    notifier.invalidate(0x7000_0000, 0x7000_1000);
    expect(rig.smmu.commands[0]).toEqual([(1n << 48n) + (1n << 20n) + 0x12n, 0x7000_0400n]);
  });

  test('endpoints with ATS are told after the TLB, by their PASID', () => {
    const { rig, notifier } = attached({ traits: { ats: true } });
    notifier.invalidate(0x7000_0000, 0x7000_1000);
    expect(rig.smmu.commands[2]).toEqual([
      (8n << 32n) + (5n << 12n) + (1n << 11n) + 0x40n,
      0x7000_0000n,
    ]);
    expect(opcodes(rig)).toEqual([TLBI_NH_VA, CMD_SYNC, ATC_INV, CMD_SYNC]);
  });

  test.each(['6.12', '7.3'] as const)(
    '%s without range commands: page by page, and all of the ASID from 512 pages on',
    (kernel) => {
      const { rig, notifier } = attached({
        profile: DRIVER_PROFILES[kernel],
        words: idsWith({
          idr0: { STALL_MODEL: 0, CD2L: 1 },
          idr1: { SSIDSIZE: 8 },
          idr3: { RIL: 0 },
        }),
      });
      notifier.invalidate(0x7000_0000, 0x7000_0000 + 511 * 4096);
      const pages = opcodes(rig).filter((op) => op === TLBI_NH_VA);
      expect(pages.length).toBe(511);
      notifier.invalidate(0x7000_0000, 0x7000_0000 + 512 * 4096);
      expect(opcodes(rig)).toEqual([TLBI_NH_ASID, CMD_SYNC]);
    },
  );

  test('before any attach nothing is sent by kernels with arrays', () => {
    const { rig, driver, device } = made();
    const process = new Process();
    domainOver(driver, device, process);
    process.notifiers[0]?.invalidate(0x1000, 0x2000);
    expect(opcodes(rig)).toEqual([]);
  });
});

describe('the exit of the process', () => {
  test('rewrites each CD so that nothing is walked or recorded, keeps it valid, and drops the ASID', () => {
    const written: number[] = [];
    const { rig, notifier, process } = attached({
      traits: { stall: true },
      view: (memory) => ({
        get hi() {
          return memory.hi;
        },
        get blockBytes() {
          return memory.blockBytes;
        },
        load64: (pa) => memory.load64(pa),
        store64(pa, lo, hi) {
          written.push(pa);
          memory.store64(pa, lo, hi);
        },
        cas64: (...words) => memory.cas64(...words),
        load32: (pa) => memory.load32(pa),
        store32: (pa, value) => memory.store32(pa, value),
        clean: (pa, bytes) => memory.clean(pa, bytes),
        isBacked: (pa) => memory.isBacked(pa),
        lanes: () => undefined,
        block: () => undefined,
      }),
    });
    written.length = 0;
    process.users = 0;
    notifier.release();
    const ops = opcodes(rig);
    expect(ops.slice(-2)).toEqual([TLBI_NH_ASID, CMD_SYNC]);
    expect(new Set(ops.slice(0, -2))).toEqual(new Set([CFGI_CD, CMD_SYNC]));
    const at = written.find((pa) => pa % 64 === 0) as number;
    const cd = Uint32Array.from(
      rig.words(at, 8).flatMap((q) => [Number(q & 0xffff_ffffn), Number(q >> 32n)]),
    );
    const { V, EPD0, R, S, A, ASID, TTB0 } = CD.get;
    expect([V(cd), EPD0(cd), R(cd), S(cd), A(cd), ASID(cd), TTB0(cd)]).toEqual([
      1, 1, 0, 0, 1, 1, 0,
    ]);
    expect(cd).toEqual(sharedCd(TABLES, 1, { features: { stall: true }, released: true }));
  });
});

describe('the end', () => {
  test('the last detach drops the ASID; freeing sends nothing more, and gives it to the next', () => {
    const { rig, driver, device, process, domain } = attached();
    expect(driver.blockedDomain.ops.setDevPasid?.(device, 5, domain)).toBe(0);
    expect(opcodes(rig).filter((op) => op === TLBI_NH_ASID)).toEqual([TLBI_NH_ASID]);
    domain.ops.free();
    expect([opcodes(rig), process.notifiers]).toEqual([[], []]);
    const next = domainOver(driver, device, new Process());
    expect((next.ops as unknown as { id: number }).id).toBe(1);
  });

  test('6.12 drops it when the domain is freed', () => {
    const { rig, driver, device, domain } = attached({ profile: DRIVER_PROFILES['6.12'] });
    expect(driver.blockedDomain.ops.setDevPasid?.(device, 5, domain)).toBe(0);
    expect(opcodes(rig)).not.toContain(TLBI_NH_ASID);
    domain.ops.free();
    expect(opcodes(rig)).toEqual([TLBI_NH_ASID, CMD_SYNC]);
  });
});

describe('the fault queue of a device', () => {
  function queued(options: {
    streams?: number[];
    traits: DeviceTraits;
    errno?: number;
    route?: true;
  }) {
    const log: string[] = [];
    const faultQueue: FaultQueueControl = {
      addDevice: () => {
        log.push('add');
        return options.errno ?? 0;
      },
      removeDevice: () => void log.push('remove'),
      discardPartial: () => void log.push('discard'),
    };
    const { streams = [8], traits, route } = options;
    const pageRequests = route === true ? 'route' : 'deny';
    const found = made({ streams, traits, parts: { faultQueue, pageRequests } });
    const attach = (
      pasid: number,
      handler: (() => number) | null = () => 0,
    ): [number, IommuDomain] => {
      const domain = domainOver(found.driver, found.device, new Process());
      domain.pageRequestHandler = handler;
      return [domain.ops.setDevPasid?.(found.device, pasid, null) ?? -1, domain];
    };
    return { ...found, log, attach };
  }

  test('is joined with the first domain that handles faults, and left with the last', () => {
    const { driver, device, log, attach } = queued({ traits: { stall: true } });
    const domains = [1, 2].map((pasid) => attach(pasid)[1]);
    expect(log).toEqual(['add']);
    driver.blockedDomain.ops.setDevPasid?.(device, 1, domains[0] ?? null);
    expect(log).toEqual(['add']);
    driver.blockedDomain.ops.setDevPasid?.(device, 2, domains[1] ?? null);
    expect(log).toEqual(['add', 'remove']);
  });

  test.each([
    ['a device that never stalls', { traits: {} }, 0, []],
    ['several streams', { traits: { stall: true }, streams: [8, 9] }, -ERRNO.EOPNOTSUPP, []],
    ['several streams that do not stall', { traits: {}, streams: [8, 9] }, 0, []],
    [
      'a queue that refuses',
      { traits: { stall: true }, errno: -ERRNO.EBUSY },
      -ERRNO.EBUSY,
      ['add'],
    ],
    ['page requests, denied', { traits: { ats: true } }, 0, []],
    ['page requests, routed', { traits: { ats: true }, route: true as const }, 0, ['add']],
  ])('%s', (_name, options, errno, log) => {
    const found = queued(options);
    expect([found.attach(1)[0], found.log]).toEqual([errno, log]);
  });

  test('is nothing to a domain without handler', () => {
    const { log, attach } = queued({ traits: { stall: true } });
    expect([attach(1, null)[0], log]).toEqual([0, []]);
  });
});

describe('sharing ASIDs with the CPU, which Linux does not', () => {
  const BROADCAST = { ...IDS, idr0: IDS.idr0 + 2 ** 5 };
  function shared(ids: typeof IDS, tables: unknown = { ...TABLES, asid: 0x77 }) {
    const traits = { ats: true };
    const rig = new Rig({
      ids,
      profile: DRIVER_PROFILES['7.3'],
      parts: { processAsids: 'cpu', traitsOf: () => traits },
    });
    const driver = rig.create() as SmmuV3Driver;
    driver.reset();
    const ptm = rig.smmu.writes.findLast(([offset]) => offset === REGISTER_OFFSET.CR2)?.[1];
    const device = pasidDevice(driver, [8]);
    const process = new Process(tables);
    const domain = driver.domainAllocSva(device, process);
    rig.forget();
    return { rig, driver, device, process, domain, ptm };
  }

  test('the CD has the ASID of the CPU in its set, and notices go to endpoints alone', () => {
    const { rig, device, process, domain, ptm } = shared(BROADCAST);
    if (typeof domain === 'number') throw new Error(`sva: ${domain}`);
    // RECINVSID alone: PTM 0.
    expect(ptm).toBe(2n);
    const state = { features: {}, released: false, asidOf: 'cpu' } as const;
    const cd = sharedCd(TABLES, 0x77, state);
    expect([CD.get.ASET(cd), CD.get.ASID(cd)]).toEqual([0, 0x77]);
    expect(domain.ops.setDevPasid?.(device, 5, null)).toBe(0);
    rig.forget();
    process.notifiers[0]?.invalidate(0x1000, 0x2000);
    expect(opcodes(rig)).toEqual([ATC_INV, CMD_SYNC]);
  });

  test('an ASID that a domain of the driver has: -EBUSY', () => {
    const { driver, device } = shared(BROADCAST);
    expect(driver.domainAllocSva(device, new Process({ ...TABLES, asid: 0x77 }))).toBe(
      -ERRNO.EBUSY,
    );
    expect(driver.domainAllocSva(device, new Process())).toBe(-ERRNO.EBUSY);
  });

  test('without broadcasts in the hardware the ASID is the driver’s own', () => {
    const { domain, ptm } = shared(IDS);
    expect([(domain as IommuDomain).ops as unknown as { id: number }, ptm]).toMatchObject([
      { id: 1 },
      6n,
    ]);
  });
});
