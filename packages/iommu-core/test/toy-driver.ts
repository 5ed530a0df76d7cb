import {
  type DeviceFault,
  type DomainType,
  type GatherKind,
  type IommuCore,
  type IommuDevice,
  IommuDomain,
  type IommuOps,
  type PageResponse,
  type ProcessSpace,
  type ReservedRegion,
} from '../src/index.ts';
import type { ToyDefect } from './toy-defect.ts';
import { PAGE, SLOT, SPACE, ToyDomain } from './toy-domain.ts';

export type Command = readonly [what: string, ...operands: number[]];

/** Frames for tables, one each; the k-th allocation can fail. */
export class ToyFrames {
  used = 0;
  allocations = 0;
  peak = 0;
  failAt = 0;

  alloc(): boolean {
    this.allocations++;
    if (this.failAt > 0 && --this.failAt === 0) return false;
    this.used++;
    this.peak = Math.max(this.peak, this.used);
    return true;
  }
}

export interface ToyOptions {
  readonly defect?: ToyDefect;
  /** The range operations; default: yes. */
  readonly ranges?: boolean;
  /** `iotlbSyncMap`; default: no. */
  readonly syncMap?: boolean;
  readonly gatherKind?: GatherKind;
  readonly regions?: readonly ReservedRegion[];
  readonly deferred?: boolean;
  /** No `blockedDomain`. */
  readonly noBlocked?: boolean;
  readonly maxPasids?: number;
  readonly defType?: DomainType;
}

/** The driver of the toy hardware, and the hardware. */
export class ToyDriver implements IommuOps {
  readonly options: ToyOptions;
  readonly defect: ToyDefect;
  readonly capabilities = { cacheCoherency: true, deferredFlush: true, noexec: true };
  readonly frames: ToyFrames = new ToyFrames();
  readonly commands: Command[] = [];
  readonly domains: ToyDomain[] = [];
  readonly streams: Map<IommuDevice, ToyDomain> = new Map();
  readonly pasids: Map<string, ToyDomain> = new Map();
  readonly responses: [string, DeviceFault, PageResponse][] = [];
  readonly blockedDomain?: IommuDomain;
  readonly blockedOps: ToyDomain;
  readonly maxPasids: number;
  core: IommuCore | null = null;
  rangeCalls = 0;
  tableId = 0;

  constructor(options: ToyOptions = {}) {
    this.options = options;
    this.defect = options.defect ?? 'none';
    this.maxPasids = options.maxPasids ?? 16;
    this.blockedOps = new ToyDomain(this, 'blocked');
    if (options.noBlocked !== true) this.blockedDomain = this.#wrap(this.blockedOps, 'blocked');
  }

  probeDevice(device: IommuDevice): number {
    if (this.defect === 'throws') throw new Error('broken driver');
    device.priv = { streams: device.info.ids };
    return 0;
  }

  releaseDevice(device: IommuDevice): void {
    this.streams.delete(device);
    if (this.defect !== 'probe leaves state') device.priv = null;
  }

  #wrap(ops: ToyDomain, type: DomainType): IommuDomain {
    const sizeless = this.defect === 'empty page sizes' && type === 'unmanaged';
    const fixed = type === 'identity' || type === 'blocked' || sizeless;
    const domain = new IommuDomain({
      type,
      ops,
      pgsizeBitmap: fixed ? 0 : PAGE + SLOT,
      apertureStart: 0,
      apertureEnd: SPACE,
      ...(this.options.gatherKind === undefined ? {} : { gatherKind: this.options.gatherKind }),
    });
    ops.domain = domain;
    return domain;
  }

  domainAlloc(type: DomainType): IommuDomain | number {
    if (type === 'sva') return -95;
    const ops = new ToyDomain(this, type);
    this.domains.push(ops);
    return this.#wrap(ops, type);
  }

  domainAllocSva(_device: IommuDevice, mm: ProcessSpace): IommuDomain | number {
    if (mm.users === 0) return -22;
    return this.#wrap(new ToyDomain(this, 'sva'), 'sva');
  }

  getResvRegions(): readonly ReservedRegion[] {
    if (this.defect === 'crooked region')
      return [{ type: 'reserved', start: 0x2000, end: 0x1000, prot: 0 }];
    return this.options.regions ?? [];
  }

  defDomainType(): DomainType | undefined {
    return this.options.defType;
  }

  isAttachDeferred(): boolean {
    return this.options.deferred ?? false;
  }

  pageResponse(device: IommuDevice, fault: DeviceFault, response: PageResponse): void {
    this.responses.push([device.name, fault, response]);
  }

  /** What the device reaches at an IOVA now: undefined is a fault. */
  access(device: IommuDevice, iova: number, pasid = 0): number | undefined {
    const at = pasid === 0 ? this.streams.get(device) : this.pasids.get(`${device.name}/${pasid}`);
    if (at === undefined) return undefined;
    if (at.type === 'identity') return this.defect === 'identity moves' ? iova + PAGE : iova;
    if (at.type === 'blocked') return this.defect === 'blocked lets pass' ? iova : undefined;
    return at.access(iova);
  }

  /** Commands of a kind so far. */
  count(what: string): number {
    return this.commands.filter(([name]) => name === what).length;
  }
}
