// All of it: `npm run soak` sets the budget.
import './summary-tables.test.ts';
