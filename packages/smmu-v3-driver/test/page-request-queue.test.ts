import { PAGE_REQUEST, REGISTER_OFFSET } from '@iommukit/arm-arch';
import type { DeviceFault } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import type { PageRequestQueue, SmmuV3Driver } from '../src/index.ts';
import { idsWith } from './fake-smmu.lanes.ts';
import { probed, Rig } from './rig.ts';

const at = REGISTER_OFFSET;
// Eight requests.
const IDS = idsWith({ idr0: { ATS: 1, PRI: 1 }, idr1: { PRIQS: 3 } });

function made(): { rig: Rig; driver: SmmuV3Driver; priq: PageRequestQueue } {
  const rig = new Rig({ ids: IDS });
  const driver = rig.up();
  if (driver.priq === null) throw new Error('no queue');
  return { rig, driver, priq: driver.priq };
}

/** Puts a request in the queue as the SMMU does. */
function publish(rig: Rig, priq: PageRequestQueue, index: number, last: 0 | 1): void {
  const words = PAGE_REQUEST.encode({ StreamID: 8, PRGIndex: index, R: 1, Last: last });
  const pa = priq.base + (index % 8) * 16;
  for (let q = 0; q < 2; q++)
    rig.memory.store64(pa + q * 8, words[q * 2] as number, words[q * 2 + 1] as number);
}

describe('reset', () => {
  test('the queue is enabled after the event queue, the check of translated transactions after it', () => {
    const rig = new Rig({ ids: IDS });
    const driver = rig.create() as SmmuV3Driver;
    rig.forget();
    expect(driver.reset()).toBe(0);
    const writes = (offset: number): bigint[] =>
      rig.smmu.writes.filter(([where]) => where === offset).map(([, value]) => value);
    expect(writes(at.CR0)).toEqual([0n, 0x8n, 0xcn, 0xen, 0x1en, 0x1fn]);
    expect(writes(at.IRQ_CTRL)).toEqual([0n, 7n]);
    // 2^3 entries, write-allocate.
    expect(writes(at.PRIQ_BASE)).toEqual([BigInt(driver.priq?.base ?? 0) + (1n << 62n) + 3n]);
    expect([writes(at.PRIQ_PROD), writes(at.PRIQ_CONS)]).toEqual([[0n], [0n]]);
  });

  test.each([
    [0xe, 'failed to enable PRI queue'],
    [0x1e, 'failed to enable ATS check'],
  ])('CR0 = %i is not acknowledged', (value, text) => {
    const rig = new Rig({ ids: IDS });
    const driver = rig.create() as SmmuV3Driver;
    const write = rig.smmu.write32.bind(rig.smmu);
    rig.smmu.write32 = (offset, written): void => {
      if (offset === at.CR0 && written === value) rig.smmu.deaf.add(offset);
      write(offset, written);
    };
    rig.log.length = 0;
    expect(driver.reset()).toBe(-ERRNO.ETIMEDOUT);
    expect(rig.log).toEqual([{ level: 'err', text }]);
  });

  test('without page requests there is no queue', () => {
    expect(new Rig().up().priq).toBeNull();
  });

  test('no memory for it: nothing leaks', () => {
    const rig = new Rig({ ids: IDS });
    rig.coherentPool.failIn = 3;
    expect(rig.create()).toBe(-ERRNO.ENOMEM);
    expect(rig.coherentPool.used).toBe(0);
    expect(rig.log.at(-1)?.text).toBe('failed to allocate queue (0x80 bytes) for priq');
  });
});

describe('the thread', () => {
  test('denies a group at its last request, without a SYNC', () => {
    const { rig, priq } = made();
    publish(rig, priq, 0, 0);
    publish(rig, priq, 1, 1);
    rig.smmu.poke(at.PRIQ_PROD, 2);
    priq.thread();
    expect(rig.smmu.read32(at.PRIQ_CONS)).toBe(2);
    expect(rig.log.map(({ text }) => text)).toEqual([
      'unexpected PRI request received:',
      '\tsid 0x00000008.0x00000: [0] unprivileged R access at iova 0x0000000000000000',
      'unexpected PRI request received:',
      '\tsid 0x00000008.0x00000: [1L] unprivileged R access at iova 0x0000000000000000',
    ]);
    expect(rig.smmu.commands).toEqual([[0x8_0000_0041n, 1n]]);
    expect(rig.lists.map(({ n, sync }) => [n, sync])).toEqual([[1, 0]]);
  });

  test('goes over the end of the ring, and acknowledges an overflow', () => {
    const { rig, priq } = made();
    for (let i = 0; i < 8; i++) publish(rig, priq, i, 0);
    rig.smmu.poke(at.PRIQ_PROD, 8 + 2 ** 31);
    rig.log.length = 0;
    priq.thread();
    expect(priq.drained).toBe(8);
    expect(rig.smmu.read32(at.PRIQ_CONS)).toBe(8 + 2 ** 31);
    const lost = rig.log.filter(({ level }) => level === 'err').map(({ text }) => text);
    expect(new Set(lost)).toEqual(new Set(['PRIQ overflow detected -- requests lost']));
    publish(rig, priq, 8, 1);
    rig.smmu.poke(at.PRIQ_PROD, 9 + 2 ** 31);
    priq.thread();
    expect(priq.drained).toBe(9);
  });
});

describe('routing, which Linux has not', () => {
  const routed = (answer: number) => {
    const faults: DeviceFault[] = [];
    const rig = new Rig({
      ids: IDS,
      parts: {
        pageRequests: 'route',
        reportFault: (_device, fault) => {
          faults.push(fault);
          return answer;
        },
      },
    });
    const driver = rig.up();
    const device = probed(driver, 'a', [8]);
    const priq = driver.priq as PageRequestQueue;
    publish(rig, priq, 0, 1);
    rig.smmu.write32(at.PRIQ_PROD, 1);
    rig.forget();
    priq.thread();
    return { rig, driver, device, faults };
  };

  test('a request goes to the page-fault layer and is answered when that says so', () => {
    const { rig, driver, device, faults } = routed(0);
    expect(faults).toEqual([
      { addr: { lo: 0, hi: 0 }, pasid: null, perm: 1, grpid: 0, lastPage: true },
    ]);
    expect([rig.smmu.commands, rig.log.filter(({ text }) => text.includes('PRI'))]).toEqual([
      [],
      [],
    ]);
    driver.pageResponse(device, faults[0] as DeviceFault, 'success');
    // CMD_PRI_RESP of stream 8: response 2 in dw1[13:12].
    expect(rig.smmu.commands).toEqual([[0x8_0000_0041n, 0x2000n]]);
  });

  test('what nobody takes is denied, with the lines that Linux prints', () => {
    const { rig, faults } = routed(-ERRNO.EINVAL);
    expect(faults).toHaveLength(1);
    expect(rig.smmu.commands).toEqual([[0x8_0000_0041n, 0n]]);
    expect(rig.log.map(({ text }) => text)).toContain('unexpected PRI request received:');
  });
});
