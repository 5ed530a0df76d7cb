import { IotlbGather } from '@iommukit/io-pgtable';
import { describe, expect, it } from 'vitest';
import { ListGather } from '../src/index.ts';
import { BatchRig, CONT, PROT, scat, X } from './rig.ts';
import { PAGE, SLOT } from './toy-domain.ts';
import type { ToyOptions } from './toy-driver.ts';

function mapped(options: ToyOptions) {
  const rig = new BatchRig(options);
  const { core, domain } = rig;
  core.mapSg(domain, X, scat(64), PROT);
  core.map(domain, X + SLOT, 0x9_0000_0000, SLOT, PROT);
  rig.touch(X, 64);
  rig.touch(X + SLOT, 8);
  rig.clear();
  return rig;
}

/** S4-14: every second page, then a block, into one gather. */
function scattered(rig: BatchRig): IotlbGather {
  const { core, domain } = rig;
  const gather = core.newGather(domain);
  for (let i = 0; i < 64; i += 2)
    expect(core.unmapFast(domain, X + i * PAGE, PAGE, gather)).toBe(PAGE);
  expect(core.unmapFast(domain, X + SLOT, SLOT, gather)).toBe(SLOT);
  return gather;
}

describe('the gather of a domain', () => {
  it('is the kernel’s by default: a sync for whatever does not fit', () => {
    const rig = mapped({});
    const gather = scattered(rig);
    expect(gather).toBeInstanceOf(IotlbGather);
    expect(gather).not.toBeInstanceOf(ListGather);
    rig.core.iotlbSync(rig.domain, gather);
    expect(rig.sent).toEqual([33, 33]);
  });

  it('may be a list: all of it waits for one sync', () => {
    const rig = mapped({ gatherKind: 'list' });
    const gather = scattered(rig) as ListGather;
    expect(rig.sent).toEqual([0, 0]);
    expect([gather.records.records, gather.bytes]).toEqual([33, 33 * 24]);
    expect([gather.start, gather.end, gather.isEmpty]).toEqual([X, X + 2 * SLOT, false]);
    rig.core.iotlbSync(rig.domain, gather);
    expect(rig.sent).toEqual([33, 1]);
    expect([gather.isEmpty, gather.bytes, gather.pgsize]).toEqual([true, 0, 0]);
    expect(rig.touch(X, 64).filter((paddr) => paddr !== undefined)).toHaveLength(32);
    expect(rig.touch(X + SLOT, 1)).toEqual([undefined]);
    rig.core.iotlbSync(rig.domain, gather);
    expect(rig.sent).toEqual([33, 1]);
  });

  it('a driver without ranges is asked for one sync for each of the list', () => {
    const rig = mapped({ gatherKind: 'list', ranges: false });
    rig.core.iotlbSync(rig.domain, scattered(rig));
    expect(rig.sent).toEqual([33, 33]);
    expect(rig.touch(X + SLOT, 1)).toEqual([undefined]);
  });

  it('neighbours join whatever their order', () => {
    const rig = mapped({ gatherKind: 'list' });
    const gather = rig.core.newGather(rig.domain);
    for (const i of [3, 1, 2, 0]) rig.core.unmapFast(rig.domain, X + i * PAGE, PAGE, gather);
    rig.core.iotlbSync(rig.domain, gather);
    expect(rig.driver.commands).toEqual([['inv', X, X + 4 * PAGE, 1], ['sync']]);
  });

  it('a plain unmap uses it too', () => {
    const rig = mapped({ gatherKind: 'list' });
    expect(rig.core.unmap(rig.domain, X, 64 * PAGE)).toBe(64 * PAGE);
    expect(rig.driver.commands).toEqual([['inv', X, X + 64 * PAGE, 1], ['sync']]);
  });

  it('what a driver adds without a page size is handed over as the kernel would', () => {
    const rig = new BatchRig({ gatherKind: 'list' });
    const seen: [number, number, number][] = [];
    rig.toy.unmapPages = (_iova, pgsize, pgcount) => pgsize * pgcount;
    rig.toy.iotlbSync = ({ start, end, pgsize }) => {
      seen.push([start, end, pgsize]);
    };
    expect(rig.core.unmap(rig.domain, X, 4 * PAGE)).toBe(4 * PAGE);
    expect(seen).toEqual([[X, X + 4 * PAGE, 0]]);
  });

  it('a failed flush is told', () => {
    const rig = mapped({ gatherKind: 'list' });
    rig.toy.flushErrno = -110;
    rig.core.unmap(rig.domain, X, PAGE);
    expect(rig.events.filter(({ name }) => name === 'warn')).toEqual([
      { name: 'warn', text: 'the invalidation of 1 ranges failed: -110' },
    ]);
  });

  it('a gather of the kernel’s kind works on such a domain as well', () => {
    const rig = mapped({ gatherKind: 'list' });
    const gather = new IotlbGather();
    for (const i of [0, 2]) rig.core.unmapFast(rig.domain, X + i * PAGE, PAGE, gather);
    rig.core.iotlbSync(rig.domain, gather);
    expect(rig.sent).toEqual([2, 2]);
    rig.core.map(rig.domain, X, CONT, PAGE, PROT);
    expect(rig.touch(X, 1)).toEqual([CONT]);
  });
});
