import type { Capture } from '@iommukit/captures';
import { IommuDevice, type IommuDomain, type RangeBatch } from '@iommukit/iommu-core';
import { CACHE_EVERYTHING } from '@iommukit/smmu-v3-model';
import { kernelProfile } from '../kernel-profile.ts';
import { Machine, MEMORY_OF_CAPTURES } from '../machine.ts';
import { captureSource, type ModeSource } from '../replay/mode-source.ts';
import type { DmaCall, Operation } from '../replay/operation.ts';
import { PROT } from './setup.ts';

const PAGE = 4096;

/** What batches made of the calls of a capture. */
export interface BatchCounts {
  maps: number;
  unmaps: number;
  /** Pieces that were mapped, and those of them that the device found where the trace says, right after the map. */
  compared: number;
  equal: number;
  /** Pages that it still reached after the flush that followed their unmap. */
  survivors: number;
  failed: number;
}

/** A device of the trace, its domain, and the batch that is open on it. */
interface Client {
  readonly streamId: number;
  readonly domain: IommuDomain;
  readonly batch: RangeBatch;
  /** Unmapped since the last flush. */
  readonly waiting: DmaCall[];
}

/**
 * The calls of a capture at the kernel's own IOVAs, as maps and unmaps of ranges: each device has one batch, flushed when so many unmaps wait.
 * Everything between two flushes shares one SYNC.
 */
export class CapturedBatches {
  readonly machine: Machine;
  readonly counts: BatchCounts = {
    ...{ maps: 0, unmaps: 0, compared: 0, equal: 0, survivors: 0, failed: 0 },
  };
  readonly #source: ModeSource;
  readonly #most: number;
  readonly #clients = new Map<string, Client>();

  /** `most`: unmaps that wait for one flush. */
  constructor(capture: Capture, most: number) {
    this.#source = captureSource(capture);
    this.#most = most;
    this.machine = new Machine({
      idr: this.#source.idr,
      profile: kernelProfile(this.#source.kernel),
      cpus: 1,
      memory: MEMORY_OF_CAPTURES,
      policy: CACHE_EVERYTHING,
    });
    this.machine.boot();
  }

  run(): void {
    for (const operation of this.#source.plan.operations) this.#execute(operation);
    for (const client of this.#clients.values()) this.#flush(client);
  }

  /** Flushes of all batches, those that a map needed included, and ranges that they invalidated. */
  get flushes(): number {
    return [...this.#clients.values()].reduce((sum, { batch }) => sum + batch.flushes, 0);
  }

  #execute(operation: Operation): void {
    if (operation.op === 'call') this.#map(operation.call);
    else if (operation.op === 'uncall') this.#unmap(operation.call);
  }

  #map(call: DmaCall): void {
    const client = this.#clientOf(call.device);
    const runs = call.pieces.map(({ paddr, size }) => ({ paddr, length: size }));
    this.counts.maps++;
    if (client.batch.mapSg(call.kernelIova, runs, PROT) < 0) {
      this.counts.failed++;
      return;
    }
    let iova = call.kernelIova;
    for (const { paddr, size } of call.pieces) {
      this.counts.compared++;
      if (this.machine.model.translateFast(client.streamId, iova, 0) === paddr) this.counts.equal++;
      iova += size;
    }
  }

  #unmap(call: DmaCall): void {
    const client = this.#clientOf(call.device);
    const size = bytesOf(call);
    this.counts.unmaps++;
    if (client.batch.unmapRange(call.kernelIova, size) !== size) this.counts.failed++;
    client.waiting.push(call);
    if (client.waiting.length >= this.#most) this.#flush(client);
  }

  #flush(client: Client): void {
    client.batch.flush();
    for (const call of client.waiting.splice(0)) {
      const { ops } = client.domain;
      for (let at = call.kernelIova; at < call.kernelIova + bytesOf(call); at += PAGE) {
        // Mapped again since.
        if (ops.iovaToPhys(at) !== 0) continue;
        if (this.machine.model.translateFast(client.streamId, at, 0) >= 0) this.counts.survivors++;
      }
    }
  }

  #clientOf(name: string): Client {
    const known = this.#clients.get(name);
    if (known !== undefined) return known;
    const { core, driver } = this.machine;
    const ids = this.#source.streamIds(name);
    const device = new IommuDevice({ name, ids, groupKey: name, isPci: true });
    core.probeDevice(device, driver);
    const domain = device.group?.domain;
    const batch = domain === null || domain === undefined ? -1 : core.beginBatch(domain);
    if (domain === null || domain === undefined || typeof batch === 'number')
      throw new RangeError(`${name}: no batch`);
    const client = { streamId: ids[0] ?? 0, domain, batch, waiting: [] };
    this.#clients.set(name, client);
    return client;
  }
}

function bytesOf({ pieces }: DmaCall): number {
  return pieces.reduce((sum, { size }) => sum + size, 0);
}
