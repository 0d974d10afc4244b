-- Which job undid a job: looked up for every job that is shown.
create index jobs_undos on multiboard.jobs ((params ->> 'job')) where kind = 'undo';
