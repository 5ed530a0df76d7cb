import { deviceRules } from './device-rules.ts';
import { DriverContractError } from './driver-contract-error.ts';
import { DriverRig } from './driver-rig.ts';
import type { DriverSubject } from './driver-subject.ts';
import { mappingRules } from './mapping-rules.ts';
import { rangeRules } from './range-rules.ts';

/**
 * One rule of the contract.
 * @example test(oneCase.name, () => oneCase.run());
 */
export interface DriverContractCase {
  readonly name: string;
  /** Throws `DriverContractError` where the rule is broken. */
  run(): void;
}

/**
 * The contract that core expects of every driver (`IommuOps`, `DomainOps`), as cases for whichever test runner. Each makes new hardware,
 * probes its devices, works through core as its users do, watches DMA through the hardware's caches, and at the end takes everything apart
 * and looks for what was not given back. Operations that a driver does not have are left out.
 * @example for (const { name, run } of driverContract(subject)) test(name, run);
 */
export function driverContract(subject: DriverSubject): readonly DriverContractCase[] {
  return [...deviceRules, ...mappingRules, ...rangeRules].map((rule) => ({
    name: rule.name,
    run() {
      try {
        const rig = new DriverRig(subject);
        rule.run(rig);
        rig.finish();
      } catch (error) {
        if (error instanceof DriverContractError) throw error;
        const operands = { subject: subject.name, rule: rule.name, expected: 'no exception' };
        throw new DriverContractError({ ...operands, got: String(error) });
      }
    },
  }));
}
