import { TraceChannel } from '@iommukit/platform';
import {
  CORE_PROFILES,
  type CoreEvent,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuGroup,
} from '../src/index.ts';
import { type ToyDomain, ToyDriver, type ToyOptions } from './toy-driver.ts';

export type Made = { readonly domain: IommuDomain; readonly ops: ToyDomain };

/** Devices a, b, c in one group over the toy hardware; device c has no PASIDs. */
export class GroupRig {
  readonly driver: ToyDriver;
  readonly core: IommuCore;
  readonly devices: readonly IommuDevice[];
  readonly warnings: string[] = [];

  constructor(options: ToyOptions = {}) {
    this.driver = new ToyDriver(options);
    const trace = new TraceChannel<CoreEvent>();
    trace.listen((event) => {
      if (event.name === 'warn') this.warnings.push(event.text);
    });
    this.core = new IommuCore({ trace, profile: CORE_PROFILES['7.3'], defaultDomainType: 'dma' });
    this.driver.core = this.core;
    this.devices = ['a', 'b', 'c'].map(
      (name, i) =>
        new IommuDevice({
          name,
          ids: [i],
          groupKey: 'g',
          ...(name === 'c' ? {} : { maxPasids: 8 }),
        }),
    );
    for (const device of this.devices)
      if (this.core.probeDevice(device, this.driver) !== 0) throw new Error('no probe');
  }

  device(index: number): IommuDevice {
    return this.devices[index] as IommuDevice;
  }

  get group(): IommuGroup {
    return this.device(0).group as IommuGroup;
  }

  get fallback(): Made {
    const domain = this.group.defaultDomain as IommuDomain;
    return { domain, ops: domain.ops as ToyDomain };
  }

  make(): Made {
    const domain = this.core.domainAllocUnmanaged(this.device(0));
    if (!(domain instanceof IommuDomain)) throw new Error('no domain');
    return { domain, ops: domain.ops as ToyDomain };
  }

  /** Types of the domains in which the hardware has the devices. */
  get where(): (string | undefined)[] {
    return this.devices.map((device) => this.driver.streams.get(device)?.type);
  }

  /** Which devices have which domain on a PASID. */
  on(pasid: number): (ToyDomain | undefined)[] {
    return this.devices.map(({ name }) => this.driver.pasids.get(`${name}/${pasid}`));
  }
}
