// All of it: `npm run soak` sets the budget.
import './format-twins.test.ts';
