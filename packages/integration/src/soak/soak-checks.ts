/* What must hold after steps: the cheap part after each one, the rest from time to time and at the end. */
import { COMMAND_BYTES } from '@iommukit/arm-arch';
import type { SoakMachine } from './soak-machine.ts';
import type { SoakPrivate } from './soak-private.ts';
import type { SoakStreaming } from './soak-streaming.ts';

const PAGE = 4096;

/** The invariants of a soak. */
export class SoakChecks {
  readonly #on: SoakMachine;
  readonly #streaming: SoakStreaming;
  readonly #private: SoakPrivate;
  #commands = 0;
  #reports = 0;
  #warnings = 0;

  constructor(on: SoakMachine, streaming: SoakStreaming, own: SoakPrivate) {
    this.#on = on;
    this.#streaming = streaming;
    this.#private = own;
    this.#commands = on.machine.driver.cmdq.issued;
    this.#warnings = this.#countWarnings();
  }

  /** After each step. */
  cheap(): void {
    const { machine, violation, debug } = this.#on;
    this.#seeCommands();
    const { staleUseCount } = machine.model;
    if (staleUseCount !== this.#on.pendingUses) {
      const use = machine.model.staleUses.at(-1);
      violation.report(
        'stale',
        `${staleUseCount - this.#on.pendingUses} uses of stale entries, the last: ${use?.kind} of stream ${use?.streamId} at 0x${(use?.iova ?? 0).toString(16)}, ${use?.class}`,
      );
    }
    if (debug.reports.length !== this.#reports) {
      this.#reports = debug.reports.length;
      violation.report('debug', debug.reports.at(-1)?.text ?? '');
    }
    if (!this.#on.drained) violation.report('reuse', 'a step leaves commands behind');
  }

  /** From time to time: tables, ranges, slots, handles and memory, whole. */
  whole(): void {
    const { devices, machine, violation, swiotlb } = this.#on;
    for (const { space, device, ranges, lazy } of devices) {
      const differ = space.differences(machine.memory);
      if (differ > 0)
        violation.report('tables', `${device.name}: ${differ} pages differ from those mapped`);
      let held = 0;
      for (const pages of ranges.live.values()) held += pages;
      if (!lazy && held !== space.pages.size)
        violation.report(
          'leak',
          `${device.name}: ${held} granules held, ${space.pages.size} mapped`,
        );
    }
    for (const space of this.#private.spaces())
      if (space.differences(machine.memory) > 0)
        violation.report('tables', 'a private space has other pages than those mapped');
    let handles = 0;
    let bounced = 0;
    for (const { way, device } of this.#streaming.live) {
      if (way === 'handle' || way === 'sg-handle') handles++;
      if (device.dev.untrusted && way !== 'coherent') bounced++;
    }
    if (this.#on.api.handles.live !== handles)
      violation.report('leak', `${this.#on.api.handles.live} handles, ${handles} in use`);
    if (bounced === 0 && swiotlb.report().usedSlots !== 0)
      violation.report('leak', `${swiotlb.report().usedSlots} bounce slots are held by nobody`);
    const warnings = this.#countWarnings();
    if (warnings !== this.#warnings)
      violation.report('result', `${warnings - this.#warnings} warnings of page tables`);
    this.#memory();
  }

  /** Memory that no device has must be as the twin's. */
  #memory(): void {
    const { twin, cpu, violation } = this.#on;
    const lent = new Set<number>();
    for (const { memory } of this.#streaming.live)
      for (const { start, length } of memory)
        for (let at = start - (start % PAGE); at < start + length; at += PAGE) lent.add(at);
    for (const page of twin.used) {
      if (lent.has(page)) continue;
      const at = twin.differsAt(cpu, page, PAGE);
      if (at >= 0) violation.report('bytes', `0x${at.toString(16)} changed while nobody had it`);
    }
  }

  /** Once all is undone: nothing is left. */
  end(): void {
    const { devices, machine, violation, frames, swiotlb, api, debug } = this.#on;
    for (const { ranges, space, device } of devices) {
      if (ranges.live.size !== 0)
        violation.report('leak', `${device.name}: ${ranges.live.size} IOVA ranges leak`);
      if (space.pages.size !== 0)
        violation.report('leak', `${device.name}: ${space.pages.size} pages stay mapped`);
    }
    this.whole();
    this.cheap();
    // Of those that a flush was to come for, which has come by now.
    if (machine.model.staleUses.some((use) => use.class === 'missing'))
      violation.report('stale', 'stale entries that were used are still there');
    for (const { dev } of devices) api.releaseDevice(dev);
    if (debug.reports.length !== 0) violation.report('debug', debug.reports.at(-1)?.text ?? '');
    for (const { device, dev } of devices) {
      api.releaseDomain(dev.domain);
      machine.core.releaseDevice(device);
    }
    const left = [
      ['frames of buffers', frames.used],
      ['table frames', machine.frames.used],
      ['bounce slots', swiotlb.report().usedSlots],
      ['handles', api.handles.live],
      ['translations', machine.model.tlbSize],
      ['groups', machine.core.groups.length],
      ['stalled transactions', machine.model.stalled.length],
    ] as const;
    for (const [what, count] of left)
      if (count !== 0) violation.report('leak', `${count} ${what} leak`);
  }

  /** What the driver wrote into the command queue since the last look. */
  #seeCommands(): void {
    const { machine, digest } = this.#on;
    const { base, lg2, issued, prod } = machine.driver.cmdq;
    const entries = 2 ** lg2;
    const fresh = Math.min(issued - this.#commands, entries);
    this.#commands = issued;
    const { memory } = machine;
    for (let i = fresh; i > 0; i--) {
      const at = base + ((prod - i + 2 * entries) % entries) * COMMAND_BYTES;
      for (let word = 0; word < COMMAND_BYTES; word += 8) {
        digest.add(memory.load64(at + word));
        digest.add(memory.hi);
      }
    }
  }

  #countWarnings(): number {
    return this.#on.devices.reduce((sum, { space }) => sum + space.table.warnings, 0);
  }
}
