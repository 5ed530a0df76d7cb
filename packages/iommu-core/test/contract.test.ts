import { describe, expect, it } from 'vitest';
import {
  type DriverContractCase,
  DriverContractError,
  type DriverSubject,
  driverContract,
} from '../src/contract/index.ts';
import type { ToyDefect } from './toy-defect.ts';
import { ToyDriver, type ToyOptions } from './toy-driver.ts';

/** The toy hardware as a subject. */
function subject(options: ToyOptions = {}): DriverSubject {
  return {
    name: options.defect ?? 'toy',
    create(core) {
      const driver = new ToyDriver(options);
      driver.core = core;
      return {
        driver,
        devices: ['a', 'b'].map((name, i) => ({
          name,
          ids: [i],
          groupKey: name,
          maxPasids: 8,
        })),
        access: (device, iova, pasid) => driver.access(device, iova, pasid) ?? -1,
        commands: () => driver.commands.length,
        frames: () => driver.frames.used,
        failAllocation: (k) => {
          driver.frames.failAt = k;
        },
      };
    },
  };
}

const kinds: [string, ToyOptions][] = [
  ['with ranges', {}],
  ['without ranges', { ranges: false }],
  ['with a list gather', { gatherKind: 'list' }],
  ['with a list gather and no ranges', { gatherKind: 'list', ranges: false }],
  ['with iotlbSyncMap', { syncMap: true }],
  ['without PASIDs', { maxPasids: 0 }],
  ['without a blocked domain of its own', { noBlocked: true, maxPasids: 0 }],
];

describe.each(kinds)('the toy driver %s keeps the contract', (_name, options) => {
  it.each(driverContract(subject(options)))('$name', ({ run }: DriverContractCase) => run());
});

/** The rules, or their steps, that a defect breaks. */
function broken(defect: ToyDefect): string[] {
  const rules: string[] = [];
  for (const { run } of driverContract(subject({ defect })))
    try {
      run();
    } catch (error) {
      if (!(error instanceof DriverContractError)) throw error;
      expect(error.code).toBe('DRIVER_CONTRACT');
      rules.push(`${error.operands.rule}`);
    }
  return rules;
}

// The suite is worth what it catches: each row is one defect in the toy, and the rule or the step that must name it.
const rows: [ToyDefect, RegExp][] = [
  ['probe leaves state', /state of the driver/],
  ['leaks a table', /came back/],
  ['no invalidation', /DMA to the hole/],
  ['invalidates one page', /DMA to the hole/],
  ['invalidation keeps table pointers', /DMA to/],
  ['flushRanges forgets the last record', /DMA to the hole/],
  ['unmapRange sends commands', /commands of unmapRange/],
  ['unmapRange keeps its records', /pending ranges/],
  ['unmapRange frees at once', /before the flush/],
  ['mapRange is not atomic', /everything after|came back/],
  ['mapRange overwrites', /mapSg over a mapped page/],
  ['mapRange tells no page', /the page that is named/],
  ['mapRange maps nothing', /iovaToPhys/],
  ['mapPages overwrites', /map over a mapped page/],
  ['mapPages counts wrongly', /hole|map of|DMA/],
  ['mapPages says nothing of a part', /iovaToPhys of the hole/],
  ['unmapPages passes a hole', /bytes unmapped/],
  ['iovaToPhys loses the offset', /iovaToPhys 0x8 into/],
  ['iovaToPhys of a hole', /iovaToPhys of the hole/],
  ['domains share a table', /map of/],
  ['attach forgets', /DMA/],
  ['identity moves', /DMA in an identity domain/],
  ['blocked lets pass', /DMA in a blocked domain/],
  ['half of the range operations', /range operations/],
  ['empty page sizes', /page sizes/],
  ['frees nothing', /came back/],
  ['PASIDs share the domain', /DMA of PASID 2/],
  ['a PASID stays', /DMA of a detached PASID/],
  ['crooked region', /a region of type reserved/],
  ['throws', /./],
  ['ignores the protection', /map without READ and WRITE/],
  ['positive errno', /map over a mapped page|map of/],
  ['reuse detaches', /detached tables/],
];

describe('caught', () => {
  it.each(rows)('%s', (defect, rule) => {
    expect(broken(defect).join('; ')).toMatch(rule);
  });

  it('no defect, no complaint', () => {
    expect(broken('none')).toEqual([]);
  });

  it('a subject with one device is refused', () => {
    const one: DriverSubject = {
      name: 'one',
      create: (core) => ({ ...subject().create(core), devices: [] }),
    };
    expect(() => driverContract(one)[0]?.run()).toThrow('two devices');
  });
});
