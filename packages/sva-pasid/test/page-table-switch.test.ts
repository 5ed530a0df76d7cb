import type { IommuDomain } from '@iommukit/iommu-core';
import { describe, expect, test } from 'vitest';
import {
  type ContextBank,
  IoMm,
  PageTableSwitch,
  svaAllocPasid,
  svaFreePasid,
  svaMap,
  svaUnmap,
  unbindDevAll,
} from '../src/index.ts';
import { PAGE, type PagedDomain, PROT, type PrivateDriver, PrivateRig } from './private-driver.ts';

const [EIO, ENODEV, EINVAL, ENOSPC] = [-5, -19, -22, -28];
const IOVA = 0x1_0000;
const [OWN, A, B] = [0x3000_0000, 0x4000_0000, 0x5000_0000];

/** A GPU without PASIDs, whose command stream writes the table of its context bank. */
class Gpu implements ContextBank {
  most = 2;
  errno = 0;
  table: PagedDomain | null = null;
  readonly driver: PrivateDriver;

  constructor(driver: PrivateDriver) {
    this.driver = driver;
  }

  load(domain: IommuDomain | null): number {
    if (domain !== null && this.errno !== 0) return this.errno;
    this.table = (domain?.ops as PagedDomain | undefined) ?? null;
    this.driver.note(`load ${this.table?.id ?? 'own'}`);
    return 0;
  }
}

class GpuRig extends PrivateRig {
  readonly gpu: Gpu;
  readonly banks: PageTableSwitch;

  constructor() {
    super(null);
    this.gpu = new Gpu(this.driver);
    this.banks = new PageTableSwitch(this.gpu);
    this.init({ contexts: this.banks, minPasid: 1, maxPasid: 2 });
    this.core.map(this.domain, IOVA, OWN, PAGE, PROT);
    this.driver.noted();
  }

  /** What the GPU reads now: no request carries an id. */
  reads(page = IOVA): number {
    return (this.gpu.table ?? (this.domain.ops as PagedDomain)).read(page);
  }
}

test('one IOVA in three address spaces, chosen by the register', () => {
  const rig = new GpuRig();
  const [a, b] = [rig.alloc(), rig.alloc()];
  // No PASID reaches the IOMMU.
  expect(rig.driver.noted()).toEqual([]);
  svaMap(a, IOVA, A, PAGE, PROT);
  svaMap(b, IOVA, B, PAGE, PROT);
  const order = [a, b, null, b, a].map((ioMm) => [rig.banks.switchTo(ioMm), rig.reads()]);
  expect(order).toEqual([
    [0, A],
    [0, B],
    [0, OWN],
    [0, B],
    [0, A],
  ]);
  expect(rig.banks.current).toBe(a);
});

test('an unmap reaches a table that the device does not walk now', () => {
  const rig = new GpuRig();
  const [a, b] = [rig.alloc(), rig.alloc()];
  svaMap(a, IOVA, A, PAGE, PROT);
  rig.banks.switchTo(a);
  expect(rig.reads()).toBe(A);
  rig.banks.switchTo(b);
  svaUnmap(a, IOVA, PAGE);
  rig.banks.switchTo(a);
  expect(rig.reads()).toBe(-1);
});

test('switching to what is there writes nothing', () => {
  const rig = new GpuRig();
  const a = rig.alloc();
  rig.banks.switchTo(a);
  rig.driver.noted();
  expect(rig.banks.switchTo(a)).toBe(0);
  expect(rig.driver.noted()).toEqual([]);
});

describe('freeing', () => {
  test('the current one: the device leaves it, then it is invalidated, then freed', () => {
    const rig = new GpuRig();
    const a = rig.alloc();
    svaMap(a, IOVA, A, PAGE, PROT);
    rig.banks.switchTo(a);
    rig.driver.noted();
    expect(svaFreePasid(rig.domain, a)).toBe(0);
    expect(rig.driver.noted()).toEqual(['load own', 'flush 2', 'free 2']);
    expect([rig.reads(), rig.banks.current]).toEqual([OWN, null]);
  });

  test('another one leaves the register alone', () => {
    const rig = new GpuRig();
    const [a, b] = [rig.alloc(), rig.alloc()];
    rig.banks.switchTo(a);
    rig.driver.noted();
    svaFreePasid(rig.domain, b);
    expect(rig.driver.noted()).toEqual(['flush 3', 'free 3']);
    expect(rig.banks.current).toBe(a);
  });

  test('all of them', () => {
    const rig = new GpuRig();
    rig.banks.switchTo(rig.alloc());
    rig.alloc();
    expect(unbindDevAll(rig.device)).toBe(2);
    expect(rig.reads()).toBe(OWN);
  });
});

describe('refused, with the old tables still in use', () => {
  test('more than the device can have: -ENOSPC', () => {
    const rig = new GpuRig();
    rig.alloc();
    rig.alloc();
    expect(svaAllocPasid(rig.domain, rig.device)).toBe(ENOSPC);
  });

  test('the register: what it said', () => {
    const rig = new GpuRig();
    const [a, b] = [rig.alloc(), rig.alloc()];
    svaMap(a, IOVA, A, PAGE, PROT);
    rig.banks.switchTo(a);
    rig.gpu.errno = EIO;
    expect(rig.banks.switchTo(b)).toBe(EIO);
    expect([rig.banks.current, rig.reads()]).toEqual([a, A]);
  });

  test('a handle of another device: -EINVAL', () => {
    const [rig, other] = [new GpuRig(), new GpuRig()];
    expect(rig.banks.switchTo(other.alloc())).toBe(EINVAL);
    expect(rig.banks.switchTo(new PrivateRig().alloc())).toBe(EINVAL);
  });

  test('a shared handle: -ENODEV', () => {
    const rig = new GpuRig();
    const { core, device, domain } = rig;
    const shared = new IoMm({ kind: 'shared', core, device, domain, pasid: 7 });
    expect(rig.banks.switchTo(shared)).toBe(ENODEV);
  });

  test('a freed handle throws', () => {
    const rig = new GpuRig();
    const a = rig.alloc();
    svaFreePasid(rig.domain, a);
    expect(() => rig.banks.switchTo(a)).toThrow(expect.objectContaining({ code: 'IO_MM_FREED' }));
  });
});
