"""The one table. Routing, validation and OpenAPI are all made from it, so none of them can say something else."""

from typing import Final

from trustgate.planes.admin import (
    agents,
    auths,
    catalogs,
    consumers,
    definitions,
    explaining,
    gateways,
    health,
    mcp_catalog,
    models,
    pages,
    policies,
    probes,
    processes,
    registries,
)
from trustgate.planes.admin.operation import Operation

OPERATIONS: Final[tuple[Operation, ...]] = (
    *gateways.OPERATIONS,
    *registries.OPERATIONS,
    *agents.OPERATIONS,
    *definitions.OPERATIONS,
    *consumers.OPERATIONS,
    *auths.OPERATIONS,
    *policies.OPERATIONS,
    *explaining.OPERATIONS,
    *health.OPERATIONS,
    *processes.OPERATIONS,
    *catalogs.OPERATIONS,
    *models.OPERATIONS,
    *mcp_catalog.OPERATIONS,
    *probes.OPERATIONS,
    *pages.OPERATIONS,
)
