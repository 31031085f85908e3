"""Stand-in until delivery lands."""

CompositePublisher = ConsolePublisher = JSONLinesPublisher = read_jsonlines = None
