// All of it: `npm run soak` sets the budget.
import './queue-schedules.test.ts';
