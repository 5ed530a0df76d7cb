// All of it: `npm run soak` sets the budget.
import './contract.test.ts';
