import { conflictRules } from './conflict-rules.ts';
import { ContractError } from './contract-error.ts';
import { ContractPlan, type Rule } from './contract-plan.ts';
import { ContractRig } from './contract-rig.ts';
import type { ContractSubject } from './contract-subject.ts';
import { mappingRules } from './mapping-rules.ts';
import { orderRules } from './order-rules.ts';
import { refusalRules } from './refusal-rules.ts';

/**
 * One rule of the contract.
 * @example test(oneCase.name, () => oneCase.run());
 */
export interface ContractCase {
  readonly name: string;
  /** Throws `ContractError` where the rule is broken; leaves nothing behind. */
  run(): void;
}

/**
 * The contract that every page-table format keeps, as cases for whichever test runner: each makes a table of its own on watched
 * memory, and ends by freeing it and looking for what is left. The idea is that of Linux's generic page-table tests: one suite, all
 * formats. Throws `ContractError` when the subject does not even make a table.
 * @example for (const { name, run } of pageTableContract(subject)) test(name, run);
 */
export function pageTableContract(subject: ContractSubject): readonly ContractCase[] {
  const probe = new ContractRig(subject, { watched: true });
  const plan = new ContractPlan(subject, probe);
  probe.finish();
  const rules: Rule[] = [
    ...mappingRules(subject, plan),
    ...conflictRules(plan),
    ...refusalRules(subject, plan),
    ...orderRules(subject, plan),
  ];
  return rules.map(({ name, options = { watched: false }, run }) => ({
    name,
    run() {
      try {
        const rig = new ContractRig(subject, options);
        run(rig);
        rig.finish();
      } catch (error) {
        if (error instanceof ContractError) throw error;
        const operands = { subject: subject.name, rule: name, expected: 'no exception' };
        throw new ContractError({ ...operands, got: String(error) });
      }
    },
  }));
}
